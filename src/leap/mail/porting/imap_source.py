"""Mail from an account at another IMAP server: folders to mailboxes, and only what is new.

What is remembered is a document for each mailbox of the server and place here, written with the messages of each batch:
the UIDVALIDITY and the highest uid up to which all is done (uids ascend, RFC 3501 2.3.1.1). With another
UIDVALIDITY all is fetched again; what is here already is then known by its octets. Both stand in one field, so that two
devices never mix them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from leap.mail.contract import AccountUnavailable
from leap.mail.imap.wire.dates import parse_date_time
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.mailbox_names import decode_name
from leap.mail.porting.batches import MOST_MESSAGES, MOST_OCTETS, Batch
from leap.mail.porting.found import Found, Oddity, SourceMailbox
from leap.mail.porting.imap_client import (
    LOST,
    ImapConnection,
    ImapServerAddress,
    ServerRefused,
    quoted_only,
)
from leap.mail.porting.imap_replies import Atom, BadReply, Fetched, Value, number, parse_fetched
from leap.mail.porting.mailbox_naming import folder_of, usable_level
from leap.mail.porting.reading_files import too_large
from leap.soledad.document_api import get as get_document
from leap.soledad.envelope import with_lengths
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

KIND = "mail-import-source"
MOST_UIDS = 10_000_000  # about a gigabyte of memory; no mailbox has so many
ATTEMPTS = 5  # connections in a row that bring nothing
_OURS = {one.lower(): one for one in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}
_ALL = {b"\\all", b"\\flagged", b"\\important"}  # they show mail of other mailboxes again
_NO_MAIL = {b"\\noselect", b"\\nonexistent"}


class _Listed(NamedTuple):
    wire: bytes
    mailbox: SourceMailbox


class ImapSource:
    """A `leap.mail.porting.batches.MailSource`. Raises AccountUnavailable."""

    def __init__(
        self,
        server: ImapServerAddress,
        store: Soledad,
        *,
        into: str | None = None,
        anew: bool = False,
        tell: Callable[[Oddity], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`into` as of the import. `anew`: what is remembered of earlier imports is not asked."""
        self._server = server
        self._store = store
        self._into = into or ""
        self._anew = anew
        self._tell = tell
        self._sleep = sleep
        self._listed: dict[SourceMailbox, list[bytes]] = {}

    async def mailboxes(self) -> list[SourceMailbox]:
        try:
            await self._list()
        except LOST as error:
            raise self._unreachable(error) from error
        return list(self._listed)

    def _unreachable(self, error: BaseException) -> AccountUnavailable:
        host = self._server.host
        if isinstance(error, ssl.SSLCertVerificationError):
            return AccountUnavailable(
                f"The certificate of {host} is not trusted: {error.verify_message}."
            )
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return AccountUnavailable(f"The connection to {host} was lost: {why or 'no answer'}")

    async def _list(self) -> None:
        async with ImapConnection.opened(self._server, 0) as connection:
            command = b'LIST "" "*"'
            if {b"SPECIAL-USE", b"LIST-EXTENDED"} <= connection.capabilities:
                command += b" RETURN (SPECIAL-USE)"
            for reply in await connection.run(command):
                listed = self._mailbox(reply)
                if listed is not None:
                    self._listed.setdefault(listed.mailbox, []).append(listed.wire)

    def _mailbox(self, reply: list[Value]) -> _Listed | None:
        if len(reply) < 5 or reply[1] != b"LIST" or not isinstance(reply[2], list):
            return None
        wire, delimiter = reply[4], reply[3]
        if not isinstance(wire, bytes):
            return None
        attributes = {one.lower() for one in reply[2] if isinstance(one, bytes)}
        if attributes & _NO_MAIL:
            return None
        try:
            name = decode_name(wire)
        except ImapSyntaxError:
            name = wire.decode("utf-8", "replace")
        if attributes & _ALL:
            self._tell(
                Oddity("skipped", usable_level(name), "It shows mail of other mailboxes again.")
            )
            return None
        between = delimiter.decode("ascii", "replace") if isinstance(delimiter, bytes) else ""
        levels = name.split(between) if between else [name]
        if len(levels) > 1 and levels[0].upper() == "INBOX":
            levels = levels[1:]  # Courier's and Cyrus' "INBOX.Sent"
        mailbox = folder_of(() if [one.upper() for one in levels] == ["INBOX"] else levels)
        use = next((_OURS[one.decode()] for one in attributes if one.decode() in _OURS), None)
        return _Listed(wire, SourceMailbox(mailbox.name, use or mailbox.special_use))

    async def batches(self, mailbox: SourceMailbox, limit: int) -> AsyncGenerator[Batch, None]:
        for wire in self._listed[mailbox]:
            reading = _Reading(self, wire, mailbox.name, limit)
            failures = 0
            while True:
                before = reading.up_to
                try:
                    async with contextlib.aclosing(reading.batches()) as batches:
                        async for batch in batches:
                            yield batch
                    break
                except ServerRefused as error:
                    self._tell(Oddity("unreadable", mailbox.name, str(error)))
                    break
                except LOST as error:
                    failures = 1 if reading.up_to > before else failures + 1
                    if failures >= ATTEMPTS:
                        raise self._unreachable(error) from error
                    self._tell(Oddity("connection", mailbox.name, "The server was lost."))
                    await self._sleep(2.0**failures)


class _Reading:
    """One mailbox of the server, over as many connections as it takes."""

    def __init__(self, source: ImapSource, wire: bytes, name: str, limit: int) -> None:
        self._source = source
        self._wire = wire
        self._name = name
        self._limit = limit
        self._validity = 0
        self.up_to = 0

    async def batches(self) -> AsyncGenerator[Batch, None]:
        server = self._source._server
        async with ImapConnection.opened(server, max(self._limit, MOST_OCTETS)) as connection:
            await self._examine(connection)
            odd: list[Oddity] = []
            for uids in _grouped(await self._new(connection, odd)):
                found = await self._fetch(connection, uids)
                self.up_to = uids[-1]
                yield Batch(found, list(odd), self._noted(uids[-1]))
                odd.clear()
            if odd:
                yield Batch([], odd)

    async def _examine(self, connection: ImapConnection) -> None:
        validity = 0
        for reply in await connection.run(b"EXAMINE " + quoted_only(self._wire)):
            words = [one for one in reply if isinstance(one, Atom)]
            if b"[UIDVALIDITY" in words:
                after = words[words.index(Atom(b"[UIDVALIDITY")) + 1 :]
                validity = number(Atom(after[0].rstrip(b"]"))) if after else 0
        if not validity:
            raise BadReply("The server does not say its UIDVALIDITY.")
        if validity != self._validity:
            self._validity, self.up_to = validity, 0
            if not self._source._anew:
                self.up_to = await self._remembered()

    async def _new(self, connection: ImapConnection, odd: list[Oddity]) -> list[tuple[int, int]]:
        """(uid, size) of what is new, ascending."""
        out: dict[int, int] = {}
        async for reply in connection.each(b"UID FETCH %d:* (UID RFC822.SIZE)" % (self.up_to + 1)):
            one = parse_fetched(reply)
            if one is None or one.uid <= self.up_to or one.size is None:
                continue  # "n:*" always names the last message, too (RFC 3501 6.4.8)
            if one.size > self._limit:
                odd.append(too_large(f"{self._name}, uid {one.uid}", self._limit))
            elif len(out) >= MOST_UIDS:
                raise BadReply("The server tells of more messages than a mailbox can have.")
            else:
                out[one.uid] = one.size
        return sorted(out.items())

    async def _fetch(self, connection: ImapConnection, uids: list[int]) -> list[Found]:
        listed = b",".join(b"%d" % uid for uid in uids)
        command = b"UID FETCH " + listed + b" (UID FLAGS INTERNALDATE BODY.PEEK[])"
        found: dict[int, Fetched] = {}
        left = MOST_OCTETS + 2 * self._limit  # a server may be wrong about sizes, but not by much
        async for reply in connection.each(command):
            one = parse_fetched(reply)
            if one is not None and one.body is not None and one.uid not in found:
                found[one.uid] = one
                left -= len(one.body)
                if left < 0:
                    raise BadReply("The server sends more than it said.")
        return [self._message(found[uid]) for uid in uids if uid in found]

    def _message(self, one: Fetched) -> Found:
        try:
            date, zone = parse_date_time(one.internal_date or b"")
        except ImapSyntaxError:
            date, zone = None, 0
        where = f"{self._name}, uid {one.uid}"
        return Found(one.body or b"", where, one.flags, date, zone, one.uid)

    # -- what is remembered

    def _doc_id(self) -> str:
        server, source = self._source._server, self._source
        fields = (KIND, server.host.lower(), server.user, source._into)
        name = with_lengths(*(one.encode() for one in fields), self._wire)
        return source._store.row_key(name)

    async def _remembered(self) -> int:
        document = await self._source._store.read(lambda c: get_document(c, self._doc_id(), False))
        state = (document.content or {}).get("state") if document is not None else None
        match state:
            case [int(validity), int(up_to)] if validity == self._validity:
                return up_to
        return 0

    def _noted(self, up_to: int) -> Callable[[Transaction], None]:
        doc_id, validity = self._doc_id(), self._validity
        server = self._source._server
        content = {
            "type": KIND,
            "server": server.host,
            "user": server.user,
            "mailbox": self._name,
            "state": [validity, up_to],
        }

        def note(tx: Transaction) -> None:
            tx.put(doc_id, content)

        return note


def _grouped(sizes: list[tuple[int, int]]) -> list[list[int]]:
    """Uids in groups that fit a batch."""
    out: list[list[int]] = []
    octets = 0
    for uid, size in sizes:
        if not out or len(out[-1]) >= MOST_MESSAGES or octets + size > MOST_OCTETS:
            out.append([])
            octets = 0
        out[-1].append(uid)
        octets += size
    return out
