"""The messages of an account in memory: rows, flags, octets, and moving them about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from leap.mail.answers import PartTree
from leap.mail.contract import (
    Appended,
    FlagOp,
    FoundMessage,
    MailboxId,
    MessageId,
    MessageMetadata,
    MessageRow,
    ModSeq,
    NewMessage,
    NoSuchMessage,
    RowId,
    SecurityStatus,
    Stored,
    TooLarge,
    Transferred,
    Uid,
)
from leap.mail.flags import checked_flags
from leap.mail.memory_mailboxes import MemoryMailbox, MemoryMailboxes
from leap.mail.memory_outbox import MAX_MESSAGE
from leap.mail.message import Message, message_metadata
from leap.mail.message.chosen_fields import chosen_fields, field_names
from leap.mail.message.scanner import part_tree

_FIRST = Uid(1)
_EVER = ModSeq(0)


class MemoryMessages(MemoryMailboxes):
    """A part of `MemoryAccount`."""

    def __init__(
        self, now: Callable[[], float], first_uid_validity: int, expunged_kept: int
    ) -> None:
        super().__init__(first_uid_validity)
        self._now = now
        self._expunged_kept = expunged_kept
        self._contents: dict[RowId, bytes] = {}
        self._metadata: dict[RowId, MessageMetadata] = {}  # of those that were asked for

    async def rows(
        self,
        mailbox_id: MailboxId,
        *,
        first: Uid = _FIRST,
        last: Uid | None = None,
        changed_since: ModSeq = _EVER,
    ) -> list[MessageRow]:
        rows = self._find(mailbox_id).rows.values()
        return [
            row
            for row in rows
            if row.uid >= first and (last is None or row.uid <= last) and row.modseq > changed_since
        ]

    async def expunged(self, mailbox_id: MailboxId, since: ModSeq) -> list[Uid]:
        mailbox = self._find(mailbox_id)
        if since < mailbox.forgotten:
            return [Uid(n) for n in range(1, mailbox.uid_next) if n not in mailbox.rows]
        return sorted(uid for modseq, uid in mailbox.gone if modseq > since)

    async def claim_recent(self, mailbox_id: MailboxId) -> list[Uid]:
        mailbox = self._find(mailbox_id)
        claimed, mailbox.unclaimed = sorted(mailbox.unclaimed), set()
        return claimed

    async def rows_of(self, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
        self._check_open()
        order = {message_id: at for at, message_id in enumerate(dict.fromkeys(message_ids))}
        found = [
            FoundMessage(mailbox_id=box.info.mailbox_id, row=row)
            for box in self._mailboxes.values()
            for row in box.rows.values()
            if row.message_id in order
        ]
        return sorted(
            found,
            key=lambda one: (order[one.row.message_id], one.row.internal_date, one.row.row_id),
        )

    def _raw(self, row_id: RowId) -> bytes:
        self._check_open()
        try:
            return self._contents[row_id]
        except KeyError:
            raise NoSuchMessage("The message was expunged.") from None

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        return [self._describe(row_id) for row_id in row_ids]

    def _describe(self, row_id: RowId) -> MessageMetadata:
        raw = self._raw(row_id)
        found = self._metadata.get(row_id)
        if found is None:
            found = message_metadata(raw, row_id, SecurityStatus(encryption="local"))
            self._metadata[row_id] = found
        return found

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
        raw = self._raw(row_id)
        return raw[start:] if length is None else raw[start : start + length]

    async def read_many(self, row_ids: Sequence[RowId]) -> list[bytes]:
        return [await self.read(row_id) for row_id in row_ids]

    async def header_fields(self, row_ids: Sequence[RowId], names: Sequence[bytes]) -> list[bytes]:
        described = await self.metadata(row_ids)
        chosen = field_names(names)
        return [
            chosen_fields(await self.read(its.row_id, 0, its.header_size), chosen)
            for its in described
        ]

    async def save_dates(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> list[int | None]:
        saved = self._find(mailbox_id).saved
        return [saved.get(uid) for uid in uids]

    async def structure(self, row_id: RowId) -> PartTree:
        return part_tree(Message(self._raw(row_id)).root)

    def _insert(self, mailbox: MemoryMailbox, row: MessageRow, raw: bytes) -> MessageRow:
        self._serial += 1
        row = msgspec.structs.replace(row, row_id=RowId(f"r{self._serial}"))
        self._contents[row.row_id] = raw
        return self._place(mailbox, row)

    def _place(self, mailbox: MemoryMailbox, row: MessageRow) -> MessageRow:
        row = msgspec.structs.replace(
            row,
            uid=Uid(mailbox.uid_next),
            modseq=mailbox.step(),
        )
        mailbox.uid_next += 1
        mailbox.rows[row.uid] = row
        mailbox.saved[row.uid] = int(self._now())
        mailbox.unclaimed.add(row.uid)
        return row

    def _take(self, mailbox: MemoryMailbox, uid: Uid, modseq: ModSeq) -> MessageRow:
        mailbox.unclaimed.discard(uid)
        del mailbox.saved[uid]
        mailbox.gone.append((modseq, uid))
        if len(mailbox.gone) > self._expunged_kept:
            mailbox.forgotten = mailbox.gone.pop(0)[0]
        return mailbox.rows.pop(uid)

    def _remove(self, mailbox: MemoryMailbox, uid: Uid, modseq: ModSeq) -> None:
        self._forget(self._take(mailbox, uid, modseq).row_id)

    def _forget(self, row_id: RowId) -> None:
        del self._contents[row_id]
        self._metadata.pop(row_id, None)

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        mailbox = self._find(mailbox_id)
        if any(len(message.raw) > MAX_MESSAGE for message in messages):
            raise TooLarge("A message has at most 50 MiB.")
        flags = [checked_flags(message.flags) for message in messages]
        done: list[Appended] = []
        for message, its_flags in zip(messages, flags, strict=True):
            self._serial += 1
            row = MessageRow(
                row_id=RowId(""),
                message_id=MessageId(f"g{self._serial}"),
                uid=Uid(0),
                modseq=ModSeq(0),
                flags=tuple(sorted(its_flags)),
                size=len(message.raw),
                internal_date=int(self._now())
                if message.internal_date is None
                else message.internal_date,
                zone=message.zone,
            )
            row = self._insert(mailbox, row, bytes(message.raw))
            done.append(Appended(row_id=row.row_id, uid=row.uid, uid_validity=mailbox.uid_validity))
        if done:
            self._announce(mailbox)
        return done

    async def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Sequence[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        mailbox = self._find(mailbox_id)
        given = checked_flags(flags)
        answer: list[MessageRow] = []
        modified: list[Uid] = []
        modseq: ModSeq | None = None
        for uid in sorted(set(uids) & mailbox.rows.keys()):
            row = mailbox.rows[uid]
            if unchanged_since is not None and row.modseq > unchanged_since:
                modified.append(uid)
                continue
            had = set(row.flags)
            new = given if op == "set" else had | given if op == "add" else had - given
            if new != had:
                modseq = modseq or mailbox.step()
                row = msgspec.structs.replace(row, flags=tuple(sorted(new)), modseq=modseq)
                mailbox.rows[uid] = row
            answer.append(row)
        if modseq is not None:
            self._announce(mailbox)
        return Stored(rows=tuple(answer), modified=tuple(modified), modseq=ModSeq(modseq or 0))

    def _copy(
        self, source: MemoryMailbox, uids: Iterable[Uid], target: MemoryMailbox
    ) -> Transferred:
        taken = sorted(set(uids) & source.rows.keys())
        made = []
        for uid in taken:
            row = source.rows[uid]
            made.append(self._insert(target, row, self._contents[row.row_id]).uid)
        return Transferred(
            uid_validity=target.uid_validity, source=tuple(taken), target=tuple(made)
        )

    async def copy(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred:
        into = self._find(target)
        done = self._copy(self._find(mailbox_id), uids, into)
        if done.source:
            self._announce(into)
        return done

    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred:
        source, into = self._find(mailbox_id), self._find(target)
        taken = sorted(set(uids) & source.rows.keys())
        made: list[Uid] = []
        if taken:
            modseq = source.step()
            rows = [self._take(source, uid, modseq) for uid in taken]
            made = [self._place(into, row).uid for row in rows]
            self._announce(into)
            if source is not into:
                self._announce(source)
        return Transferred(uid_validity=into.uid_validity, source=tuple(taken), target=tuple(made))

    async def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None = None) -> list[Uid]:
        mailbox = self._find(mailbox_id)
        among = mailbox.rows.keys() if uids is None else set(uids) & mailbox.rows.keys()
        going = sorted(uid for uid in among if "\\Deleted" in mailbox.rows[uid].flags)
        if going:
            modseq = mailbox.step()
            for uid in going:
                self._remove(mailbox, uid, modseq)
            self._announce(mailbox)
        return going

    async def replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        target: MailboxId | None = None,
    ) -> Appended:
        mailbox = self._find(mailbox_id)
        self._find(mailbox_id if target is None else target)
        if uid not in mailbox.rows:
            raise NoSuchMessage("The message to replace was expunged.")
        [made] = await self.append(mailbox_id if target is None else target, [message])
        self._remove(mailbox, uid, mailbox.step())
        self._announce(mailbox)
        return made
