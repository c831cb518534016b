"""A mail that is being written: kept in Drafts, replaced as a whole at each save, sent from there.

Invariants:
* A save is one transaction: afterwards there is the new version or, when it failed, the former one; never both,
  never none. When its answer was lost, the next save finds what became of it.
* Sending marks the draft before the mail goes into the outbox ($SubmitPending of RFC 4550), and moves it to Sent
  behind that. A draft that a crash left between the two says so, and is not sent again unless somebody decides it.
* A draft is known by its Message-ID, which stays the same through all versions and in what is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from mimetypes import guess_type
from typing import NamedTuple

from leap.mail.contract import (
    AccountBackend,
    AccountUnavailable,
    Appended,
    MailboxId,
    MessageId,
    MessageRow,
    NewMessage,
    NoSuchMailbox,
    NoSuchMessage,
    NotPermitted,
    RowId,
    Uid,
)
from leap.mail.envelope import Person, people_of, read_envelope
from leap.mail.message import Message as MessageView
from leap.mail.message.addresses import parse_addresses
from leap.mail.message.compose import is_id
from leap.mail.message.compose import message_id as new_message_id
from leap.mail.message.header import message_ids
from leap.mail.message.new_message import File, new_message
from leap.mail.messages import Message
from leap.mail.sending import seconds_of

PENDING = "$SubmitPending"  # RFC 4550 2.9 names both keywords
SUBMITTED = "$Submitted"
LOOKED_AT = 200  # drafts whose ids are read at a time
_INTERRUPTED = (
    "Sending this draft was interrupted, or another program sends it just now: it may be on its way already. Look"
    " into the outbox before sending it again."
)
_OFF_LOOP = 128 * 1024  # octets of files from which composing leaves the event loop


class Place(NamedTuple):
    """Where the saved version of a draft is."""

    mailbox_id: MailboxId
    uid: Uid
    row_id: RowId
    message_id: MessageId


class Draft:
    """A mail that is being written. `Account.new_draft`, `reply`, `forward` and `open_draft` make one.

    All attributes may be changed; nothing is stored before `save` or `send`. `to`, `cc` and `bcc` hold persons, or
    addresses as text. `text` has one paragraph a line and ">" before what is quoted. `files` are the attachments.
    """

    def __init__(
        self,
        backend: AccountBackend,
        *,
        sender: Person,
        to: Iterable[Person | str] = (),
        cc: Iterable[Person | str] = (),
        bcc: Iterable[Person | str] = (),
        subject: str = "",
        text: str = "",
        html: str | None = None,
        files: Iterable[File] = (),
        in_reply_to: Sequence[str] = (),
        references: Sequence[str] = (),
        message_id: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.sender = sender
        self.to: list[Person | str] = list(to)
        self.cc: list[Person | str] = list(cc)
        self.bcc: list[Person | str] = list(bcc)
        self.subject = subject
        self.text = text
        self.html = html
        self.files = list(files)
        self.in_reply_to = tuple(in_reply_to)
        self.references = tuple(references)
        self.message_id = message_id or _new_id(sender.address, backend.address)
        self._backend = backend
        self._now = now
        self._place: Place | None = None
        self._unsure = False  # whether a save may have succeeded unheard
        self._pending = False
        self._sent = False
        self._about: tuple[Message, str] | None = None  # what it answers, and the flag that says so
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return "Draft()"  # what people write is never in a log

    @property
    def is_saved(self) -> bool:
        """Whether a version of it is in the account."""
        return self._place is not None

    @property
    def row_id(self) -> RowId | None:
        """The saved version in its mailbox; each save makes a new one. None before the first."""
        return self._place.row_id if self._place else None

    @property
    def may_be_sent(self) -> bool:
        """Whether `send` was begun and not seen to end: the mail may be in the outbox, or delivered."""
        return self._pending

    @property
    def recipients(self) -> list[str]:
        """The addresses of all who get it, each once."""
        people = map(as_person, [*self.to, *self.cc, *self.bcc])
        return list(dict.fromkeys(one.address for one in people if one.address))

    @property
    def raw(self) -> bytes:
        """The message as octets, Bcc included; who sends takes that away. Raises NotPermitted for what can be no
        address, subject or type of a file."""
        to, cc, bcc = (
            [as_person(one) for one in people] for people in (self.to, self.cc, self.bcc)
        )
        international = not all(
            one.address.rpartition("@")[0].isascii() for one in [*to, *cc, *bcc]
        )
        try:
            return new_message(
                sender=_pair(self.sender),
                to=[_pair(one) for one in to],
                cc=[_pair(one) for one in cc],
                bcc=[_pair(one) for one in bcc],
                subject=self.subject,
                text=self.text,
                html=self.html,
                files=self.files,
                in_reply_to=self.in_reply_to,
                references=self.references,
                seconds=self._now(),
                own_id=self.message_id,
                utf8=international,  # RFC 6531: such a local part cannot be written in ASCII
            )
        except ValueError as error:
            raise NotPermitted(f"The mail cannot be written: {error}.") from error

    def attach(self, name: str, content: bytes, content_type: str | None = None) -> None:
        """Adds a file; without `content_type` its name decides. One of type message/rfc822 is a whole message."""
        kind = content_type or guess_type(name)[0] or "application/octet-stream"
        self.files.append(File(name, kind, content))

    async def save(self) -> RowId:
        """Keeps it in Drafts in place of the version before, in one durable transaction.

        When that version is gone (deleted elsewhere), it is kept anew. A draft that may be sent stays marked so.
        Raises NotPermitted, TooLarge, StorageFull.
        """
        async with self._turn:
            return (await self._keep(await self._compose())).row_id

    async def send(self, *, again: bool = False, not_before: datetime | None = None) -> str:
        """Puts it into the durable outbox, moves it to Sent, and answers its id in the outbox.

        `not_before` (with a time zone) is when it may leave; without it, it leaves after the account's delay.
        Raises NotPermitted when policy forbids it (then it stays a draft), when nobody is named, and when an earlier
        `send` succeeded or may have, unless `again` says to send it all the same. Raises TooLarge, StorageFull.
        """
        at = seconds_of(not_before)
        async with self._turn:
            recipients = self.recipients
            if not recipients:
                raise NotPermitted("The mail has no recipients.")
            if incomplete := [one for one in recipients if not all(one.rpartition("@"))]:
                raise NotPermitted(f"{incomplete[0]} is no mail address.")
            if self._pending and not again:
                raise NotPermitted(_INTERRUPTED)
            if self._sent and not again:
                raise NotPermitted("This draft was sent already.")
            raw = await self._compose()
            await self._keep(raw, pending=True, again=again)
            try:
                outbox_id = await self._backend.submit(raw, self.sender.address, recipients, at)
            except AccountUnavailable:
                raise  # whether it was taken is not known: the draft says so
            except Exception:
                await self._take_back()
                raise
            await self._to_sent(raw)
            return outbox_id

    async def discard(self) -> None:
        """Removes it from the account for good."""
        async with self._turn:
            place = await self._find()
            if place is not None:
                await self._backend.store_flags(place.mailbox_id, [place.uid], "add", ["\\Deleted"])
                await self._backend.expunge(place.mailbox_id, [place.uid])
            self._place = None

    # -- keeping it

    async def _compose(self) -> bytes:
        if sum(len(file.content) for file in self.files) > _OFF_LOOP:
            return await asyncio.to_thread(lambda: self.raw)
        return self.raw

    async def _keep(self, raw: bytes, *, pending: bool = False, again: bool = False) -> Place:
        place = self._place
        if self._unsure or place is None:
            place = await self._find() if self._unsure else None
        self._unsure = True
        for _ in range(3):  # another save of the same draft, from elsewhere, may come between
            try:
                mailbox_id, made = await self._put(place, raw, pending, again)
                break
            except (NoSuchMessage, NoSuchMailbox):
                place = await self._find()
        else:
            raise NotPermitted("Another program changes this draft just now; close it there.")
        self._unsure, self._pending = False, pending or self._pending
        self._place = await self._placed(mailbox_id, made)
        return self._place

    async def _put(
        self, place: Place | None, raw: bytes, pending: bool, again: bool
    ) -> tuple[MailboxId, Appended]:
        flags = await self._flags(place)
        once = pending and not again
        if PENDING in flags and not self._pending:  # begun elsewhere, from the same draft
            self._pending = True
            if once:
                raise NotPermitted(_INTERRUPTED)
        if place is None and once and self._place is not None and await self._was_sent():
            raise NotPermitted("This draft was sent already, by another program.")
        marked = {PENDING} if pending or self._pending else set()
        kept = (flags - {PENDING, SUBMITTED}) | {"\\Draft", "\\Seen"} | marked
        message = NewMessage(raw=raw, flags=tuple(sorted(kept)), internal_date=int(self._now()))
        if place is not None:
            replaced = await self._backend.replace(place.mailbox_id, place.uid, message)
            return place.mailbox_id, replaced
        mailbox_id = await special_mailbox(self._backend, "\\Drafts", "Drafts")
        [made] = await self._backend.append(mailbox_id, [message])
        return mailbox_id, made

    async def _flags(self, place: Place | None) -> set[str]:
        if place is None:
            return set()
        rows = await self._backend.rows(place.mailbox_id, first=place.uid, last=place.uid)
        return {flag for row in rows for flag in row.flags}

    async def _was_sent(self) -> bool:
        """Whether it lies among the newest mail in Sent."""
        sent = await special_mailbox(self._backend, "\\Sent", "Sent")
        newest = (await self._backend.status(sent)).uid_next - LOOKED_AT
        rows = await self._backend.rows(sent, first=Uid(max(1, newest)))
        return await self._among(rows) is not None

    async def _placed(self, mailbox_id: MailboxId, made: Appended) -> Place:
        rows = await self._backend.rows(mailbox_id, first=made.uid, last=made.uid)
        message_id = rows[0].message_id if rows else MessageId(made.row_id)
        return Place(mailbox_id, made.uid, made.row_id, message_id)

    async def _find(self) -> Place | None:
        """Where the saved version is now: by its row, else the newest draft with our Message-ID."""
        if self._place is not None:
            for found in await self._backend.rows_of([self._place.message_id]):
                if found.row.row_id == self._place.row_id:
                    return Place(
                        found.mailbox_id, found.row.uid, found.row.row_id, found.row.message_id
                    )
        mailbox_id = await special_mailbox(self._backend, "\\Drafts", "Drafts")
        for _ in range(5):  # one that goes while it is looked at may be this one's former version
            rows = (await self._backend.rows(mailbox_id))[::-1]
            try:
                for first in range(0, len(rows), LOOKED_AT):
                    if row := await self._among(rows[first : first + LOOKED_AT]):
                        return Place(mailbox_id, row.uid, row.row_id, row.message_id)
            except NoSuchMessage:
                continue
            return None
        raise NotPermitted("Other programs change drafts just now; try again.")

    async def _among(self, rows: Sequence[MessageRow]) -> MessageRow | None:
        """The first row with our Message-ID."""
        metadata = await self._backend.metadata([row.row_id for row in rows])
        for row, made in zip(rows, metadata, strict=True):
            if read_envelope(made.envelope).message_id == self.message_id:
                return row
        return None

    # -- sending it

    async def _take_back(self) -> None:
        assert self._place is not None
        place = self._place
        await self._backend.store_flags(place.mailbox_id, [place.uid], "remove", [PENDING])
        self._pending = False

    async def _to_sent(self, raw: bytes) -> None:
        assert self._place is not None
        place = self._place
        sent = await special_mailbox(self._backend, "\\Sent", "Sent")
        message = NewMessage(raw=raw, flags=("\\Seen", SUBMITTED), internal_date=int(self._now()))
        try:
            await self._backend.replace(place.mailbox_id, place.uid, message, sent)
        except NoSuchMessage:  # deleted meanwhile: it was sent all the same
            await self._backend.append(sent, [message])
        self._place, self._pending, self._sent = None, False, True
        if self._about is not None:
            about, flag = self._about
            try:
                await about.add_flags(flag)
            except NoSuchMessage:
                pass  # nobody needs the mark any more

    # -- for `Account`

    @classmethod
    async def of(
        cls,
        backend: AccountBackend,
        message: Message,
        *,
        now: Callable[[], float] = time.time,
    ) -> Draft:
        """The draft that a stored message is; fields which a `Draft` does not know are not kept by a save."""
        view = await message.open()
        own = people_of(view.addresses("from"))
        files = [
            File(name, part.content_type, view.content(part)) for name, part in view.attachments()
        ]
        draft = cls(
            backend,
            sender=own[0] if own else Person("", backend.address),
            to=people_of(view.addresses("to")),
            cc=people_of(view.addresses("cc")),
            bcc=people_of(view.addresses("bcc")),
            subject=view.subject,
            text=view.body_text,
            html=view.body_html,
            files=files,
            in_reply_to=ids_of(view, "in-reply-to"),
            references=ids_of(view, "references"),
            message_id=next(iter(ids_of(view, "message-id")), ""),
            now=now,
        )
        draft._place = Place(message.mailbox_id, message.uid, message.row_id, message.id)
        draft._pending = PENDING in message.flags
        return draft

    def answering(self, message: Message, flag: str) -> Draft:
        """Marks `message` with `flag` once this was sent."""
        self._about = (message, flag)
        return self


def as_person(one: Person | str) -> Person:
    """A person, also from text like "Bob <bob@example.test>". Raises NotPermitted when it names nobody, or several."""
    if isinstance(one, Person):
        return one
    found = people_of(parse_addresses(one.encode("utf-8", "replace")))
    if len(found) != 1 or not one.isprintable():
        raise NotPermitted("A recipient is one mail address.")
    return found[0]


async def special_mailbox(backend: AccountBackend, use: str, name: str) -> MailboxId:
    """The mailbox for a special use (RFC 6154), made anew where it was deleted."""
    for info in await backend.list_mailboxes():
        if info.special_use == use:
            return info.mailbox_id
    taken = {info.name for info in await backend.list_mailboxes()}
    while name in taken:
        name += " 2"
    return (await backend.create_mailbox(name, use)).mailbox_id


def ids_of(view: MessageView, name: str) -> tuple[str, ...]:
    """The message ids in all fields of that name, but for those that no header may have."""
    found = (one for field in view.all_fields(name) for one in message_ids(field.value))
    return tuple(one for one in found if is_id(one))


def _new_id(sender: str, own: str) -> str:
    """A new Message-ID; when the sender of an opened draft has no domain for it, the account's."""
    try:
        made = new_message_id(sender.rpartition("@")[2])
    except ValueError:
        made = ""
    return made if is_id(made) else new_message_id(own.rpartition("@")[2])


def _pair(person: Person) -> tuple[str, str]:
    return person.name, person.address
