"""Import from another IMAP server: our own in memory, Dovecot, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import INBOX, AccountBackend, AccountUnavailable, NewMessage
from leap.mail.imap import ImapServer, serve_imap
from leap.mail.local import OwnedAccount
from leap.mail.memory import MemoryAccount
from leap.mail.porting.imap_client import ImapServerAddress
from leap.mail.porting.imap_replies import Atom, BadReply, parse_fetched, parse_reply
from leap.mail.porting.imap_source import ImapSource
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.report import PortingReport
from tests.mail.porting.trip import stored
from tests.mail.smtp.certificate import contexts

USER, PASSWORD = "alice@elsewhere.test", 'pass "word\\ é'
RAW = b"Subject: %d\r\n\r\nbody \xff\r\n"


@pytest.fixture
async def elsewhere() -> AsyncIterator[MemoryAccount]:
    account = MemoryAccount(USER)
    yield account
    await account.close()


async def serve(elsewhere: MemoryAccount) -> ImapServer:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return elsewhere if (user, password) == (USER, PASSWORD) else None

    return await serve_imap(authenticate)


@pytest.fixture
async def server(elsewhere: MemoryAccount) -> AsyncIterator[ImapServer]:
    server = await serve(elsewhere)
    yield server
    await server.close()


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def fetch(
    account: OwnedAccount,
    port: int,
    *,
    password: str = PASSWORD,
    into: str | None = None,
    limit: int = 1_000_000,
) -> PortingReport:
    report = PortingReport()
    source = ImapSource(
        ImapServerAddress("127.0.0.1", port, USER, password),
        account.store,
        into=into,
        tell=report.tell,
        sleep=no_sleep,
    )
    await import_mail(account, source, ImportOptions(into=into, limit=limit), report)
    return report


def port_of(server: ImapServer) -> int:
    assert not isinstance(server.address, str)
    return server.address[1]


async def test_mail_flags_dates_and_folders_come_along(
    account: OwnedAccount, elsewhere: MemoryAccount, server: ImapServer
) -> None:
    message = NewMessage(
        raw=RAW % 1, flags=("\\Seen", "work"), internal_date=1_000_000_000, zone=-90
    )
    await elsewhere.append(INBOX, [message, NewMessage(raw=RAW % 2)])
    made = await elsewhere.create_mailbox("Lists/Entwürfe")
    await elsewhere.append(made.mailbox_id, [NewMessage(raw=b"Subject: LF\n\nstays\n")])
    sent = {info.special_use: info for info in await elsewhere.list_mailboxes()}["\\Sent"]
    await elsewhere.rename_mailbox(sent.mailbox_id, "Gesendet")
    await elsewhere.append(sent.mailbox_id, [NewMessage(raw=RAW % 3)])
    report = await fetch(account, port_of(server))
    assert report.mailboxes == {"INBOX": 2, "Lists/Entwürfe": 1, "Sent": 1}
    one, two = await stored(account)
    assert (one.raw, set(one.flags), one.internal_date) == (
        RAW % 1,
        {"\\Seen", "work"},
        1_000_000_000,
    )
    assert (await account.rows(INBOX))[0].zone == -90
    assert two.flags == ()
    rows = await elsewhere.rows(INBOX)
    assert rows[1].flags == ()  # nothing changed there
    assert await elsewhere.claim_recent(INBOX)


async def test_a_second_run_fetches_only_what_is_new(
    account: OwnedAccount, elsewhere: MemoryAccount, server: ImapServer
) -> None:
    await elsewhere.append(INBOX, [NewMessage(raw=RAW % n) for n in range(5)])
    assert (await fetch(account, port_of(server))).done == 5
    again = await fetch(account, port_of(server))
    assert (again.done, again.present) == (0, 0)  # not even looked at
    await elsewhere.append(INBOX, [NewMessage(raw=RAW % 9)])
    third = await fetch(account, port_of(server))
    assert (third.done, third.present) == (1, 0)
    elsewhere_again = await fetch(account, port_of(server), into="Copy")
    assert elsewhere_again.mailboxes == {"Copy": 6}


async def test_another_uidvalidity_brings_nothing_twice(account: OwnedAccount) -> None:
    for validity in (1, 100):
        other = MemoryAccount(USER, first_uid_validity=validity)
        await other.append(INBOX, [NewMessage(raw=RAW % n) for n in range(validity and 3)])
        server = await serve(other)
        report = await fetch(account, port_of(server))
        await server.close()
        await other.close()
    assert (report.done, report.present) == (0, 3)


async def test_a_wrong_password_is_a_sentence(account: OwnedAccount, server: ImapServer) -> None:
    with pytest.raises(AccountUnavailable, match="refused the log-in"):
        await fetch(account, port_of(server), password="not it")
    address = ImapServerAddress("127.0.0.1", 1, USER, PASSWORD)
    assert PASSWORD not in repr(address)
    far = ImapSource(ImapServerAddress("192.0.2.1", 143, USER, PASSWORD), account.store)
    with pytest.raises(AccountUnavailable, match="Without TLS"):
        await far.mailboxes()


async def test_a_certificate_is_verified(account: OwnedAccount, elsewhere: MemoryAccount) -> None:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return elsewhere

    await elsewhere.append(INBOX, [NewMessage(raw=RAW % 1)])
    ours, trusting = contexts()
    server = await serve_imap(authenticate, tls=ours)
    report = PortingReport()
    system = ssl.create_default_context()
    address = ImapServerAddress("localhost", port_of(server), USER, PASSWORD, system)
    with pytest.raises(AccountUnavailable, match="certificate of localhost is not trusted"):
        await import_mail(account, ImapSource(address, account.store), ImportOptions(), report)
    address = ImapServerAddress("localhost", port_of(server), USER, PASSWORD, trusting)
    await import_mail(account, ImapSource(address, account.store), ImportOptions(), report)
    assert report.done == 1
    await server.close()


async def test_large_messages_are_told_and_not_fetched(
    account: OwnedAccount, elsewhere: MemoryAccount, server: ImapServer
) -> None:
    await elsewhere.append(INBOX, [NewMessage(raw=RAW % 1 + b"x" * 2000), NewMessage(raw=RAW % 2)])
    report = await fetch(account, port_of(server), limit=1000)
    assert (report.done, report.odd["too-large"]) == (1, 1)


class Cutting:
    """Passes octets between a client and a server, and cuts a connection after so many of them."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._port = port
        self._cuts = cuts
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        left = self._cuts.pop(0) if self._cuts else 1 << 60
        theirs, to_them = await asyncio.open_connection("127.0.0.1", self._port)

        async def up() -> None:
            while data := await reader.read(1 << 16):
                to_them.write(data)

        sending = asyncio.create_task(up())
        try:
            while left > 0 and (data := await theirs.read(min(left, 1 << 14))):
                writer.write(data)
                left -= len(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            sending.cancel()
            writer.close()
            to_them.close()


async def test_a_dropped_connection_is_resumed(
    account: OwnedAccount, elsewhere: MemoryAccount, server: ImapServer
) -> None:
    await elsewhere.append(INBOX, [NewMessage(raw=RAW % n + b"x" * 1000) for n in range(450)])
    # The first one is whole: it lists the mailboxes
    cutting = Cutting(port_of(server), [1 << 60, 5_000, 300_000, 40_000])
    async with cutting as port:
        report = await fetch(account, port)
    assert (report.done, report.odd["connection"]) == (450, 3)
    assert len(await account.rows(INBOX)) == 450


async def test_a_server_that_is_never_there_for_long_ends_it(
    account: OwnedAccount, elsewhere: MemoryAccount, server: ImapServer
) -> None:
    await elsewhere.append(INBOX, [NewMessage(raw=RAW % 1)])
    async with Cutting(port_of(server), [1 << 60, *[300] * 20]) as port:
        with pytest.raises(AccountUnavailable, match="was lost"):
            await fetch(account, port)


@pytest.mark.parametrize(
    "said",
    [
        b"* OK hi\r\n* 1 FETCH (UID 1 BODY[] {99999999999}\r\n",
        b"* OK hi\r\n" + b"* LIST " + b"(" * 100 + b"\r\n",
        b"* OK hi\r\n* 1 FETCH (UID x)\r\n",
        b"* BYE go away\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"* OK " + b"x" * 3_000_000,
        b"",
    ],
)
async def test_hostile_servers_end_in_an_error(account: OwnedAccount, said: bytes) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    with pytest.raises(AccountUnavailable, match=r"127\.0\.0\.1"):
        await fetch(account, server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


def test_replies_are_read() -> None:
    reply = parse_reply(
        [
            b'* 3 FETCH (FLAGS (\\Seen $x) UID 7 BODY[HEADER.FIELDS (A B)] "q\\"" BODY[] {3}\r\n',
            b"a)b",
            b" X NIL)\r\n",
        ]
    )
    assert reply[:3] == [b"*", b"3", b"FETCH"]
    found = parse_fetched(reply)
    assert found is not None
    assert (found.uid, found.flags, found.body) == (7, ("\\Seen", "$x"), b"a)b")
    assert parse_reply([b'* LIST (\\A) "/" "a b"\r\n'])[3:] == [b"/", b"a b"]
    assert isinstance(reply[1], Atom)
    assert parse_fetched([Atom(one) for one in b"A2 OK Fetch completed (0.001".split()]) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_any_reply_is_values_or_a_bad_reply(pieces: list[bytes]) -> None:
    with contextlib.suppress(BadReply):
        parse_fetched(parse_reply([b"* 1 FETCH " + pieces[0], *pieces[1:]]))
    with contextlib.suppress(BadReply):
        parse_reply(pieces)
