"""How a local change is applied on top of what another device did first. Pure functions.

History is linear: who pushes second rebases. A local change is the difference between `local` and
`base` (what was last synced); it is applied to `remote`. None means absent or deleted.

Invariants:
* Without a local change the result is `remote`; without a remote change it is `local`.
* A row: "expunge" means *remove from the place it was in*, so a move beats an expunge; an expunge beats
  changes of flags; sets are merged member by member, scalars one by one (the later pusher wins a tie).
* Nothing here looks at a clock.
"""

from __future__ import annotations

from typing import Any

from leap.soledad.rows import RowSchema

Fields = dict[str, Any]
_ABSENT = object()


def merge_row(
    schema: RowSchema, base: Fields | None, local: Fields | None, remote: Fields | None
) -> Fields | None:
    """The row after the local change is applied to the remote one; None if it is expunged."""
    if base is None:
        if local is None or remote is None:
            return remote if local is None else local
        base = remote  # two devices made the same row: there is nothing to undo
    place = schema.place
    if local is None:
        return remote if remote is not None and remote[place] != base[place] else None
    if remote is None:
        return local if local[place] != base[place] else None
    merged = dict(remote)
    for name in schema.scalars:
        if local[name] != base[name]:
            merged[name] = local[name]
    for name in schema.sets:
        if local[name] != base[name]:
            merged[name] = merge_set(base[name], local[name], remote[name])
    return merged


def merge_set(base: str, local: str, remote: str) -> str:
    """Members added and removed locally, applied to the remote set; sorted, space separated."""
    if remote == base:
        return local
    before, mine = set(base.split()), set(local.split())
    return " ".join(sorted((set(remote.split()) | (mine - before)) - (before - mine)))


def merge_fields(base: Fields | None, local: Fields | None, remote: Fields | None) -> Fields | None:
    """Three-way merge of a document, field by field; an edit beats a deletion, so that none is lost."""
    if local == base:
        return remote
    if remote in (base, local):
        return local
    if local is None or remote is None:
        return remote if local is None else local
    before = base or {}
    merged = dict(remote)
    for name in before.keys() | local.keys():
        mine = local.get(name, _ABSENT)
        if mine == before.get(name, _ABSENT):
            continue
        if mine is _ABSENT:
            merged.pop(name, None)
        elif (
            isinstance(mine, dict)
            and isinstance(before.get(name), dict)
            and isinstance(remote.get(name), dict)
        ):
            merged[name] = merge_fields(before[name], mine, remote[name])
        else:
            merged[name] = mine
    return merged
