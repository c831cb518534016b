"""The server on real sockets, and Python's imaplib as a client."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import stat
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, AccountBackend
from leap.mail.imap import ImapServer, connection, serve_imap, transport
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER, fill, mail


class Client:
    """A bare client on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, server: ImapServer) -> Client:
        assert not isinstance(server.address, str)
        client = cls(*await asyncio.open_connection(*server.address, limit=1 << 26))
        assert (await client.line()).startswith(b"* OK [CAPABILITY ")
        return client

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 10)

    async def command(self, text: bytes) -> bytes:
        """Sends a command with tag "t" and gives all up to its tagged answer."""
        self.writer.write(b"t " + text + b"\r\n")
        await self.writer.drain()
        said = b""
        while True:
            line = await self.line()
            said += line
            if line.startswith(b"t ") or not line:
                return said

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_imaplib_reads_and_writes(server: ImapServer, account: MemoryAccount) -> None:
    host, port = server.address
    raw = mail("Über uns".encode("ascii", "replace").decode(), "line\r\n" * 1000)

    def work() -> None:
        with imaplib.IMAP4(str(host), int(port)) as client:
            with pytest.raises(imaplib.IMAP4.error):
                client.select("INBOX")
            client.login(USER, PASSWORD)
            assert client.append("INBOX", "(\\Flagged)", None, raw)[0] == "OK"
            assert client.select("INBOX") == ("OK", [b"1"])
            assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == raw  # type: ignore[index]
            assert client.search(None, "FLAGGED") == ("OK", [b"1"])
            assert client.uid("COPY", "1", "Archive")[0] == "OK"
            assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
            assert client.expunge() == ("OK", [b"1"])
            assert client.create("Own/Box")[0] == "OK"
            assert client.list('""', "Own%")[1] == [b'(\\Noselect \\HasChildren) "/" Own']
            assert client.namespace()[1] == [b'(("" "/")) NIL NIL']
            assert client.close()[0] == "OK"

    await asyncio.to_thread(work)
    assert await account.rows(INBOX) == []


async def test_imaplib_sorts_and_threads_and_speaks_utf8(
    server: ImapServer, account: MemoryAccount
) -> None:
    host, port = server.address
    await fill(account, [mail("b"), mail("Re: b", "two\r\n"), mail("a", "three\r\n")])

    def work() -> None:
        with imaplib.IMAP4(str(host), int(port)) as client:
            client.login(USER, PASSWORD)
            assert client.enable("UTF8=ACCEPT")[0] == "OK"
            assert client.create('"Bücher"')[0] == "OK"
            assert client.append('"Bücher"', "", None, mail("Grüße"))[0] == "OK"
            assert client.getquotaroot("INBOX")[1][1] == [b'"" ()']
            client.select("INBOX")
            assert client.sort("(SUBJECT)", "UTF-8", "ALL")[1] == [b"3 1 2"]
            assert client.thread("REFERENCES", "UTF-8", "ALL")[1] == [b"(1 2)(3)"]

    await asyncio.to_thread(work)
    found = {info.name: info for info in await account.list_mailboxes()}
    [row] = await account.rows(found["Bücher"].mailbox_id)
    assert await account.read(row.row_id) == mail("Grüße")


async def test_a_wrong_password_is_refused_late(server: ImapServer) -> None:
    client = await Client.connect(server)
    start = asyncio.get_running_loop().time()
    said = await client.command(b"LOGIN alice@example.test wrong")
    assert said.startswith(b"t NO [AUTHENTICATIONFAILED]")
    assert asyncio.get_running_loop().time() - start >= 0.4
    await client.close()


async def test_strangers_take_no_place_from_those_who_log_in(
    server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_STRANGERS", 3)
    monkeypatch.setattr(transport, "MAX_CONNECTIONS", 3)
    known = await Client.connect(server)
    assert (await known.command(f"LOGIN {USER} {PASSWORD}".encode())).startswith(b"t OK ")
    silent = [await Client.connect(server) for _ in range(10)]
    late = await Client.connect(server)
    assert (await late.command(f"LOGIN {USER} {PASSWORD}".encode())).startswith(b"t OK ")
    assert (await known.command(b"NOOP")).startswith(b"t OK ")
    for client in silent[:8]:
        assert await client.line() == b"* BYE Too many connections wait for a log-in.\r\n"
    assert (await silent[-1].command(b"NOOP")).startswith(b"t OK ")
    assert server.connections <= 5
    for client in (known, late, *silent):
        await client.close()


async def test_words_do_not_buy_time_before_the_log_in(
    server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOGIN_PATIENCE", 0.3)
    client = await Client.connect(server)
    async with asyncio.timeout(10):
        # A NOOP that crosses the BYE makes the kernel reset the connection: then the BYE is not read.
        with contextlib.suppress(ConnectionError):
            while b"* BYE" not in (said := await client.command(b"NOOP")):
                assert said
            assert said == b"* BYE There was no log-in for too long.\r\n"
        while server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        await client.close()


async def test_a_session_that_says_nothing_ends(
    server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_PATIENCE", 0.1)  # seconds instead of 35 minutes
    silent, idler = await Client.connect(server), await Client.connect(server)
    for client in (silent, idler):
        await client.command(f"LOGIN {USER} {PASSWORD}".encode())
    idler.writer.write(b"i IDLE\r\n")
    assert await idler.line() == b"+ idling\r\n"
    for client in (silent, idler):
        assert await client.line() == b"* BYE Nothing was said for too long.\r\n"
        assert await client.line() == b""
        await client.close()


async def test_ending_sessions_ends_those_of_one_account_only(
    server: ImapServer, account: MemoryAccount
) -> None:
    known, stranger = await Client.connect(server), await Client.connect(server)
    await known.command(f"LOGIN {USER} {PASSWORD}".encode())
    other = MemoryAccount()
    server.end_sessions(other, "Of another account.")
    assert (await known.command(b"NOOP")).startswith(b"t OK ")
    server.end_sessions(account, "The password was replaced.")
    assert await known.line() == b"* BYE The password was replaced.\r\n"
    assert await known.line() == b""
    assert (await stranger.command(b"NOOP")).startswith(b"t OK ")
    await other.close()
    for client in (known, stranger):
        await client.close()


async def test_fifty_pipelined_appends_are_answered_in_order(
    server: ImapServer, account: MemoryAccount
) -> None:
    client = await Client.connect(server)
    await client.command(f"LOGIN {USER} {PASSWORD}".encode())
    for number in range(50):
        raw = mail(f"number {number}")
        client.writer.write(b"a%d APPEND INBOX {%d+}\r\n%s\r\n" % (number, len(raw), raw))
    for number in range(50):
        said = await client.line()
        assert said.startswith(b"a%d OK [APPENDUID 1 %d]" % (number, number + 1))
    assert len(await account.rows(INBOX)) == 50
    await client.close()


async def test_a_big_fetch_does_not_keep_others_waiting(
    server: ImapServer, account: MemoryAccount
) -> None:
    await fill(account, [mail(body="x" * 1_000_000)] * 30)
    greedy, other = await Client.connect(server), await Client.connect(server)
    for client in (greedy, other):
        await client.command(f"LOGIN {USER} {PASSWORD}".encode())
        await client.command(b"SELECT INBOX")
    greedy.writer.write(b"t FETCH 1:* BODY.PEEK[]\r\n")
    await greedy.writer.drain()
    assert (await greedy.line()).startswith(b"* 1 FETCH")
    for _ in range(5):  # greedy does not read on, and the server does not hold 30 MB for it
        assert (await other.command(b"NOOP")).endswith(b"t OK Nothing done.\r\n")
    said = b""
    while not said.startswith(b"t "):
        said = await greedy.line()
    assert said == b"t OK Fetched.\r\n"
    await greedy.close()
    await other.close()


async def test_many_small_commands_in_one_go_do_not_keep_others_waiting(server: ImapServer) -> None:
    many, other = await Client.connect(server), await Client.connect(server)
    for client in (many, other):
        assert b" OK " in await client.command(f"LOGIN {USER} {PASSWORD}".encode())
    connection = next(iter(server._connections.values()))
    many.writer.write(b"n NOOP\r\n" * 3000)
    await many.writer.drain()
    assert b"t OK" in await other.command(b"NOOP")
    assert connection._commands.held  # there is more to do for the first one
    for _ in range(3000):
        assert await many.line() == b"n OK Nothing done.\r\n"
    for client in (many, other):
        await client.close()


async def test_idle_over_a_socket_is_told_within_its_time(
    server: ImapServer, account: MemoryAccount
) -> None:
    client = await Client.connect(server)
    await client.command(f"LOGIN {USER} {PASSWORD}".encode())
    await client.command(b"SELECT INBOX")
    client.writer.write(b"i IDLE\r\n")
    assert await client.line() == b"+ idling\r\n"
    start = asyncio.get_running_loop().time()
    await fill(account, [mail()])
    assert await client.line() == b"* 1 EXISTS\r\n"
    assert (
        asyncio.get_running_loop().time() - start < 2
    )  # 20 ms are measured where nothing else runs
    assert await client.line() == b"* 1 RECENT\r\n"
    client.writer.write(b"DONE\r\n")
    assert await client.line() == b"i OK Idled.\r\n"
    await client.close()


async def test_clients_that_vanish_leave_nothing_behind(
    server: ImapServer, account: MemoryAccount
) -> None:
    for _ in range(10):
        client = await Client.connect(server)
        await client.command(f"LOGIN {USER} {PASSWORD}".encode())
        client.writer.write(b"a APPEND INBOX {1000}\r\n")
        client.writer.transport.abort()
    async with asyncio.timeout(10):
        while server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert await account.rows(INBOX) == []


async def test_closing_the_server_says_bye(account: MemoryAccount) -> None:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account

    server = await serve_imap(authenticate)
    client, idler = await Client.connect(server), await Client.connect(server)
    await idler.command(b"LOGIN a b")
    idler.writer.write(b"i IDLE\r\n")
    await idler.line()
    await server.close()
    assert await client.line() == b"* BYE The server is going down.\r\n"
    assert await idler.line() == b"* BYE The server is going down.\r\n"
    assert await client.line() == await idler.line() == b""
    await client.close()
    await idler.close()


async def test_closing_the_account_ends_its_connections(
    server: ImapServer, account: MemoryAccount
) -> None:
    client = await Client.connect(server)
    await client.command(f"LOGIN {USER} {PASSWORD}".encode())
    await account.close()
    assert await client.line() == b"* BYE The account was closed.\r\n"
    assert await client.line() == b""
    await client.close()


async def test_beyond_loopback_only_with_tls(account: MemoryAccount) -> None:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account

    for host in ("0.0.0.0", "192.0.2.1", "mail.example.test", ""):
        with pytest.raises(ValueError, match="TLS"):
            await serve_imap(authenticate, host=host)


async def test_a_unix_socket_is_for_its_owner_only(account: MemoryAccount, tmp_path: Path) -> None:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account

    path = tmp_path / "imap"
    server = await serve_imap(authenticate, path=path)
    assert server.address == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    assert (await reader.readline()).startswith(b"* OK ")
    writer.close()
    await writer.wait_closed()
    await server.close()
