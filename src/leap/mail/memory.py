"""An account held in memory: the contract's plainest reading, for tests and for protocol work.

Invariants: uids ascend and are never reused; every visible change raises its mailbox's modseq by one step;
a change is announced only after it can be read.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import msgspec

from leap.mail.annotations.memory import MemoryAnnotations
from leap.mail.answers import AccountSpace, PartTree, QueryCount
from leap.mail.contract import (
    INBOX,
    SPECIAL_USE,
    AccountUnavailable,
    Appended,
    Change,
    FlagOp,
    FoundMessage,
    InvalidName,
    MailboxExists,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageId,
    MessageMetadata,
    MessageRow,
    ModSeq,
    NewMessage,
    NoSuchMailbox,
    NoSuchMessage,
    NotPermitted,
    RowId,
    SearchedText,
    SearchResult,
    SecurityStatus,
    Stored,
    SyncStatus,
    TooLarge,
    Transferred,
    Uid,
)
from leap.mail.memory_outbox import MAX_MESSAGE, MemoryOutbox
from leap.mail.message import Message, message_metadata
from leap.mail.message.chosen_fields import chosen_fields, field_names
from leap.mail.message.scanner import part_tree
from leap.mail.outbox_access import OutboxAccess
from leap.mail.search.folding import fold
from leap.mail.search.headers import field_test
from leap.mail.search.judging import judge, reading
from leap.mail.search.query import parse_query, threads_of, with_rows
from leap.mail.search.texts import holds
from leap.mail.sorting.memory import MemorySorting
from leap.mail.threads.memory import MemoryThreads

MAX_NAME = 1000  # octets of UTF-8; twice what Dovecot allows, and it still fits one IMAP line
EXPUNGED_KEPT = 50_000  # uids remembered of each mailbox; as `leap.mail.projection`
_FIRST = Uid(1)
_EVER = ModSeq(0)


class ChangeStream:
    """Changes of one account for one reader, from the moment it was made until the account closes."""

    def __init__(self) -> None:
        self._waiting: deque[Change | None] = deque()
        self._wake = asyncio.Event()

    def push(self, change: Change | None) -> None:
        self._waiting.append(change)
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        change = self._waiting.popleft()
        if change is None:
            self._waiting.append(None)
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        self.push(None)


class _Mailbox:
    def __init__(self, info: MailboxInfo, uid_validity: int) -> None:
        self.info = info
        self.uid_validity = uid_validity
        self.uid_next = 1
        self.modseq = 1  # RFC 7162 3.1.2.1: HIGHESTMODSEQ is never 0
        self.rows: dict[Uid, MessageRow] = {}
        self.unclaimed: set[Uid] = set()
        self.saved: dict[Uid, int] = {}
        self.gone: list[tuple[int, Uid]] = []
        self.forgotten = 0  # what was expunged up to this modseq is not in `gone` any more

    def step(self) -> ModSeq:
        self.modseq += 1
        return ModSeq(self.modseq)


def check_name(name: str) -> None:
    """Raises InvalidName for a name that no mailbox may have."""
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise InvalidName("A mailbox name has between 1 and 1000 octets.")
    if any(not level or level != level.strip() for level in name.split("/")):
        raise InvalidName("Each level of a mailbox name has a text without spaces around it.")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 or c in "*%" for c in name):
        raise InvalidName("A mailbox name has no control characters and neither * nor %.")


class MemoryAccount(OutboxAccess, MemoryThreads, MemorySorting, MemoryAnnotations):
    """An `AccountBackend` which forgets everything when it goes."""

    def __init__(
        self,
        address: str = "alice@example.test",
        *,
        now: Callable[[], float] = time.time,
        first_uid_validity: int = 1,
        expunged_kept: int = EXPUNGED_KEPT,
    ) -> None:
        self._address = address
        self._expunged_kept = expunged_kept
        self._now = now
        self._validity = first_uid_validity
        self._serial = 0
        self._change = 0
        self._closed = False
        self._contents: dict[RowId, bytes] = {}
        self._metadata: dict[RowId, MessageMetadata] = {}  # of those that were asked for
        self._outbox = MemoryOutbox(address, now=now)
        self._outbox.on_progress(self._announce_outbox)
        self._streams: weakref.WeakSet[ChangeStream] = weakref.WeakSet()
        self._mailboxes: dict[MailboxId, _Mailbox] = {}
        self._annotations: dict[MailboxId | None, dict[str, bytes]] = {}
        self._add(MailboxInfo(mailbox_id=INBOX, name="INBOX"))
        for mailbox_id, (name, use) in SPECIAL_USE.items():
            self._add(MailboxInfo(mailbox_id=mailbox_id, name=name, special_use=use))

    @property
    def address(self) -> str:
        return self._address

    # -- mailboxes

    def _add(self, info: MailboxInfo) -> _Mailbox:
        mailbox = self._mailboxes[info.mailbox_id] = _Mailbox(info, self._validity)
        self._validity += 1
        return mailbox

    def _find(self, mailbox_id: MailboxId) -> _Mailbox:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        try:
            return self._mailboxes[mailbox_id]
        except KeyError:
            raise NoSuchMailbox("There is no such mailbox.") from None

    def _check_place(self, mailbox_id: MailboxId | None) -> None:
        self._find(INBOX if mailbox_id is None else mailbox_id)

    def _check_new(self, name: str) -> None:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        check_name(name)
        if name.upper() == "INBOX" or any(m.info.name == name for m in self._mailboxes.values()):
            raise MailboxExists("A mailbox of that name exists.")

    def _announce(self, mailbox: _Mailbox | None) -> None:
        self._change += 1
        change = Change(
            seq=self._change,
            topic="messages" if mailbox else "mailboxes",
            mailbox_id=mailbox.info.mailbox_id if mailbox else None,
            modseq=ModSeq(mailbox.modseq if mailbox else 0),
        )
        self._push(change)

    def _push(self, change: Change) -> None:
        for stream in list(self._streams):
            stream.push(change)

    def _announce_outbox(self, outbox_id: str) -> None:
        self._change += 1
        self._push(Change(seq=self._change, topic="outbox", outbox_id=outbox_id))

    def _way_out(self) -> MemoryOutbox:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        return self._outbox

    async def list_mailboxes(self) -> list[MailboxInfo]:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        return [m.info for m in self._mailboxes.values()]

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        self._check_new(name)
        if special_use and any(m.info.special_use == special_use for m in self._mailboxes.values()):
            raise NotPermitted("Another mailbox has this special use.")
        self._serial += 1
        info = MailboxInfo(
            mailbox_id=MailboxId(f"m{self._serial}"), name=name, special_use=special_use
        )
        self._add(info)
        self._announce(None)
        return info

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        mailbox = self._find(mailbox_id)
        self._check_new(name)
        if mailbox_id == INBOX:  # RFC 9051 6.3.6
            target = await self.create_mailbox(name)
            await self.move(INBOX, list(mailbox.rows), target.mailbox_id)
            await self.annotate(target.mailbox_id, await self.annotations(INBOX))
            return
        prefix = mailbox.info.name + "/"
        if name.startswith(prefix):
            raise InvalidName("A mailbox cannot become its own inferior.")
        inferiors = [m for m in self._mailboxes.values() if m.info.name.startswith(prefix)]
        renamed = {m.info.mailbox_id: f"{name}/{m.info.name[len(prefix) :]}" for m in inferiors}
        for new in renamed.values():
            self._check_new(new)
        for one in inferiors:
            one.info = msgspec.structs.replace(one.info, name=renamed[one.info.mailbox_id])
        mailbox.info = msgspec.structs.replace(mailbox.info, name=name)
        self._announce(None)

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        mailbox = self._find(mailbox_id)
        if mailbox_id == INBOX:
            raise InvalidName("INBOX cannot be deleted.")
        del self._mailboxes[mailbox_id]
        self._annotations.pop(mailbox_id, None)
        for row in mailbox.rows.values():
            self._forget(row.row_id)
        self._announce(None)

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        mailbox = self._find(mailbox_id)
        if mailbox.info.subscribed != subscribed:
            mailbox.info = msgspec.structs.replace(mailbox.info, subscribed=subscribed)
            self._announce(None)

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
        mailbox = self._find(mailbox_id)
        rows = mailbox.rows.values()
        return MailboxStatus(
            mailbox_id=mailbox_id,
            uid_validity=mailbox.uid_validity,
            uid_next=Uid(mailbox.uid_next),
            messages=len(rows),
            unseen=sum("\\Seen" not in row.flags for row in rows),
            recent=len(mailbox.unclaimed),
            size=sum(row.size for row in rows),
            highest_modseq=ModSeq(mailbox.modseq),
        )

    # -- messages

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

    def _raw(self, row_id: RowId) -> bytes:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
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

    def _insert(self, mailbox: _Mailbox, row: MessageRow, raw: bytes) -> MessageRow:
        self._serial += 1
        row = msgspec.structs.replace(row, row_id=RowId(f"r{self._serial}"))
        self._contents[row.row_id] = raw
        return self._place(mailbox, row)

    def _place(self, mailbox: _Mailbox, row: MessageRow) -> MessageRow:
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

    def _take(self, mailbox: _Mailbox, uid: Uid, modseq: ModSeq) -> MessageRow:
        mailbox.unclaimed.discard(uid)
        del mailbox.saved[uid]
        mailbox.gone.append((modseq, uid))
        if len(mailbox.gone) > self._expunged_kept:
            mailbox.forgotten = mailbox.gone.pop(0)[0]
        return mailbox.rows.pop(uid)

    def _remove(self, mailbox: _Mailbox, uid: Uid, modseq: ModSeq) -> None:
        self._forget(self._take(mailbox, uid, modseq).row_id)

    def _forget(self, row_id: RowId) -> None:
        del self._contents[row_id]
        self._metadata.pop(row_id, None)

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        mailbox = self._find(mailbox_id)
        if any(len(message.raw) > MAX_MESSAGE for message in messages):
            raise TooLarge("A message has at most 50 MiB.")
        flags = [_checked_flags(message.flags) for message in messages]
        done: list[Appended] = []
        for message, its_flags in zip(messages, flags, strict=True):
            self._serial += 1
            row = MessageRow(
                row_id=RowId(""),
                message_id=MessageId(f"g{self._serial}"),
                uid=Uid(0),
                modseq=ModSeq(0),
                flags=its_flags,
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
        given = set(_checked_flags(flags))
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
        return Stored(rows=tuple(answer), modified=tuple(modified))

    def _copy(self, source: _Mailbox, uids: Iterable[Uid], target: _Mailbox) -> Transferred:
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

    async def search_text(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        where: SearchedText,
        needle: str,
    ) -> list[Uid]:
        rows = self._find(mailbox_id).rows
        folded = fold(needle)
        asked = sorted(set(uids) & rows.keys())
        if not folded and where in ("text", "body"):
            return asked
        return [
            uid for uid in asked if holds(Message(self._contents[rows[uid].row_id]), where, folded)
        ]

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        rows = self._find(mailbox_id).rows
        fits = field_test(field, fold(needle))
        asked = sorted(set(uids) & rows.keys())
        return [uid for uid in asked if fits(Message(self._contents[rows[uid].row_id]))]

    def _fitting(self, query: str) -> list[FoundMessage]:
        wanted = parse_query(query)
        rows = {
            thread_id: frozenset(one.row.row_id for one in self._rows_in_thread(thread_id))
            for thread_id in threads_of(wanted)
        }
        wanted = with_rows(wanted, rows)
        return [
            FoundMessage(mailbox_id=box.info.mailbox_id, row=row)
            for box in self._mailboxes.values()
            for row in box.rows.values()
            if judge(wanted, row, box.info, reading(Message(self._contents[row.row_id])))
        ]

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        found = self._fitting(query)
        found.sort(key=lambda one: (-one.row.internal_date, one.row.row_id))
        offset = max(0, offset)
        end = offset + max(1, limit)
        return SearchResult(found=tuple(found[offset:end]), more=len(found) > end)

    async def count(self, query: str) -> QueryCount:
        found = self._fitting(query)
        unseen = sum("\\Seen" not in one.row.flags for one in found)
        return QueryCount(messages=len(found), unseen=unseen)

    async def structure(self, row_id: RowId) -> PartTree:
        return part_tree(Message(self._raw(row_id)).root)

    async def rows_of(self, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
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

    def _listed(self) -> list[tuple[MailboxInfo, MessageRow, bytes]]:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        return [
            (box.info, row, self._contents[row.row_id])
            for box in self._mailboxes.values()
            for row in box.rows.values()
        ]

    async def save_dates(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> list[int | None]:
        saved = self._find(mailbox_id).saved
        return [saved.get(uid) for uid in uids]

    # -- the account as a whole

    async def space(self) -> AccountSpace:
        sizes = [row.size for _, row, _ in self._listed()]
        return AccountSpace(used=sum(sizes), messages=len(sizes), free=None)

    def changes(self) -> AsyncIterator[Change]:
        stream = ChangeStream()
        if self._closed:
            stream.push(None)
        self._streams.add(stream)
        return stream

    async def sync_now(self) -> None:
        """Nothing is elsewhere."""

    async def sync_status(self) -> SyncStatus:
        return SyncStatus(
            online=True,
            provisional=False,
            last_sync=None,
            pending=0,
            blobs_to_send=0,
            blobs_to_fetch=0,
        )

    async def close(self) -> None:
        self._closed = True
        for stream in list(self._streams):
            stream.push(None)


def _checked_flags(flags: Iterable[str]) -> tuple[str, ...]:
    chosen = sorted(set(flags))
    if any(flag.lower() == "\\recent" for flag in chosen):  # RFC 3501 2.3.2
        raise NotPermitted("\\Recent cannot be set or cleared.")
    return tuple(chosen)
