"""Changes of many messages as they are promised (`leap.soledad.promises`), and how the store makes them.

Invariants:
* What is promised was true of the mailbox at one modseq; a mailbox that is at another one takes no promise.
* A promise is kept as the same change is made at once: same uids, same modseqs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import msgspec

from leap.mail.contract import FlagOp, MailboxId, ModSeq, RowId, Uid
from leap.mail.flags import flags_text
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import new_row_ids
from leap.soledad.promises import promises
from leap.soledad.rows import SetEdit
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction

KIND = "mail"
Verb = Literal["store", "copy", "move", "expunge"]


class Outdated(Exception):
    """The mailbox is not as it was when the change was worked out."""


class Promised(msgspec.Struct, frozen=True, array_like=True):
    """One change. `spans` are pairs of uids: it is of the messages that are there from one to the other."""

    verb: Verb
    mailbox_id: MailboxId
    uid_validity: int
    modseq: ModSeq  # the highest before it
    spans: list[int]
    messages: int  # how many these are
    op: FlagOp = "set"
    flags: list[str] = []
    target: MailboxId = MailboxId("")
    target_validity: int = 0
    target_modseq: ModSeq = ModSeq(0)  # after it
    first_uid: Uid = Uid(0)  # that they get in `target`

    def __repr__(self) -> str:
        return f"Promised({self.verb!r})"


class Standing(NamedTuple):
    """A mailbox as it is when all promises are kept."""

    uid_validity: int
    modseq: ModSeq
    uid_next: Uid


_decoder = msgspec.msgpack.Decoder(Promised)
encode = msgspec.msgpack.Encoder().encode


def spans_of(places: Sequence[int], uids: Sequence[Uid]) -> list[int]:
    """Uids at these places of a mailbox, as spans."""
    if isinstance(places, range):
        return [uids[0], uids[-1]] if uids else []
    spans: list[int] = []
    for _, group in groupby(enumerate(places), key=lambda pair: pair[1] - pair[0]):
        run = list(map(itemgetter(0), group))
        spans += (uids[run[0]], uids[run[-1]])
    return spans


def set_change(op: FlagOp, flags: frozenset[str]) -> str | SetEdit:
    """What STORE does to the flags of a message."""
    if op == "set":
        return flags_text(flags)
    return SetEdit(add=flags) if op == "add" else SetEdit(remove=flags)


def check(connection: Connection, change: Promised) -> None:
    """Raises Outdated unless the mailboxes will be as the change supposes."""
    earlier = [_decoder.decode(one.given) for one in promises(connection) if one.kind == KIND]
    now = _standing(connection, change.mailbox_id, earlier)
    if now is None or now[:2] != (change.uid_validity, change.modseq):
        raise Outdated
    if change.target:
        there = _standing(connection, change.target, earlier)
        if there != (change.target_validity, change.target_modseq - 1, change.first_uid):
            raise Outdated


def _standing(
    connection: Connection, mailbox_id: MailboxId, earlier: list[Promised]
) -> Standing | None:
    found = connection.execute(
        "SELECT uid_validity, modseq, uid_next FROM mail_box WHERE mailbox_id = ?", (mailbox_id,)
    ).fetchone()
    if found is None:
        return None
    validity, modseq, uid_next = found
    for change in earlier:
        if change.mailbox_id == mailbox_id and change.verb != "copy":
            modseq += 1
        if change.target == mailbox_id:
            modseq += 1
            uid_next += change.messages
    return Standing(validity, modseq, uid_next)


def keep(tx: Transaction, given: bytes) -> None:
    """Makes a change that was promised; of a mailbox that was numbered anew since there is nothing to change."""
    change = _decoder.decode(given)
    validity = tx.connection.execute(
        "SELECT uid_validity FROM mail_box WHERE mailbox_id = ?", (change.mailbox_id,)
    ).fetchone()
    if validity is None or validity[0] != change.uid_validity:
        return
    row_ids = _row_ids(tx.connection, change)
    if len(row_ids) != change.messages:
        raise AssertionError("the mailbox is not as it was when a change was promised")
    match change.verb:
        case "store":
            edit = set_change(change.op, frozenset(change.flags))
            tx.change_set(MAIL_ROWS.name, row_ids, "flags", edit)
        case "copy":
            copies = new_row_ids(len(row_ids))
            tx.copy_rows(MAIL_ROWS.name, row_ids, copies, change.target)
        case "move":
            tx.move_rows(MAIL_ROWS.name, row_ids, change.target)
        case "expunge":
            tx.delete_many(MAIL_ROWS.name, row_ids)


def _row_ids(connection: Connection, change: Promised) -> list[RowId]:
    """Ascending by uid."""
    found: list[RowId] = []
    bounds = iter(change.spans)
    for first, last in zip(bounds, bounds, strict=True):
        found += [
            RowId(row_id)
            for (row_id,) in connection.execute(
                "SELECT row_id FROM mail_index WHERE mailbox_id = ? AND uid BETWEEN ? AND ?"
                " ORDER BY uid",
                (change.mailbox_id, first, last),
            )
        ]
    return found
