"""What an annotation may be called, how large it may be, and how many there may be (RFC 5464 3.2, 4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leap.mail.contract import InvalidName, TooLarge, TooManyAnnotations

MAX_VALUE = 65_536  # octets, as much as one literal; RFC 5464 4.1 asks for 1024 at least
MAX_ENTRIES = 100  # of one mailbox, or of the account; RFC 5464 4.1 asks for 10 at least
MAX_NAME = 255

# RFC 5464 3.2: printable ASCII without "*" and "%", levels which are not empty
_NAME = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-~]+)+")
_VENDOR = re.compile(r"/(?:private|shared)/vendor(?:/[^/]+)?")


def check_entry(name: str) -> str:
    """The name of an entry as it is kept, for letter case says nothing in it. Raises InvalidName."""
    kept = name.lower()
    if len(kept) > MAX_NAME or _NAME.fullmatch(kept) is None or _VENDOR.fullmatch(kept):
        raise InvalidName(
            "An annotation is called /private/... or /shared/..., or /shared/vendor/name/..."
        )
    return kept


def annotated(before: Mapping[str, bytes], values: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """What there is after some entries were set, or removed by None; all or none.

    Raises InvalidName, TooLarge, TooManyAnnotations.
    """
    after = dict(before)
    for name, value in values.items():
        kept = check_entry(name)
        if value is None:
            after.pop(kept, None)
        elif len(value) > MAX_VALUE:
            raise TooLarge(f"An annotation has at most {MAX_VALUE} octets.")
        else:
            after[kept] = value
    if len(after) > MAX_ENTRIES and len(after) > len(before):
        raise TooManyAnnotations(f"There are at most {MAX_ENTRIES} annotations in one place.")
    return after


def changed_entries(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[str, ...]:
    """The names whose values are not the same, in order."""
    names = before.keys() | after.keys()
    return tuple(sorted(name for name in names if before.get(name) != after.get(name)))
