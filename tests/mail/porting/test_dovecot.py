"""Dovecot as a peer: a source over IMAP, and a reader of what we export. It needs neither root nor a listener."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, NewMessage
from leap.mail.local import OwnedAccount
from tests.conftest import IN_CI
from tests.mail.porting.test_imap_source import RAW, fetch
from tests.mail.porting.trip import stored, take_out

PROGRAM = Path("/usr/lib/dovecot/imap")
NOBODY = 65534  # Dovecot never works as root

SETTINGS = """
mail_location = maildir:{home}/Maildir
log_path = {home}/log
base_dir = {home}/run
state_dir = {home}
stats_writer_socket_path =
ssl = no
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
namespace inbox {{
  inbox = yes
  separator = .
  mailbox Gesendet {{
    special_use = \\Sent
    auto = create
  }}
}}
"""


class Dovecot:
    """The imap program of Dovecot on a home of its own; each connection is logged in already (PREAUTH)."""

    def __init__(self, home: Path) -> None:
        self.home = home
        root = os.getuid() == 0
        self._ids = (NOBODY, NOBODY) if root else (os.getuid(), os.getgid())
        uid, gid = self._ids
        (home / "dovecot.conf").write_text(SETTINGS.format(home=home, uid=uid, gid=gid))
        self.own()

    def own(self) -> None:
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, *self._ids)

    def command(self) -> list[str]:
        return [str(PROGRAM), "-c", str(self.home / "dovecot.conf")]

    def environment(self) -> dict[str, str]:
        return {"USER": "alice", "HOME": str(self.home), "PATH": os.environ["PATH"]}

    def say(self, *commands: bytes) -> bytes:
        """What it answers to commands."""
        lines = b"".join(b"t%d %s\r\n" % (n, one) for n, one in enumerate((*commands, b"LOGOUT")))
        done = subprocess.run(
            self.command(), env=self.environment(), input=lines, capture_output=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def serve(self) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            process = await asyncio.create_subprocess_exec(
                *self.command(),
                env=self.environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            said = asyncio.create_task(_pass(reader, process.stdin))
            await _pass(process.stdout, writer)
            await said
            await process.wait()

        return await asyncio.start_server(accept, "127.0.0.1", 0)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    if not PROGRAM.exists():
        if IN_CI:
            pytest.fail("dovecot-imapd is not installed; tools/setup-peers installs it")
        pytest.skip("dovecot-imapd is not installed (tools/setup-peers says how)")
    with tempfile.TemporaryDirectory(prefix="dovecot-") as home:
        yield Dovecot(Path(home))


@pytest.fixture
async def port(dovecot: Dovecot) -> AsyncIterator[int]:
    server = await dovecot.serve()
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def literal(raw: bytes) -> bytes:
    return b"{%d+}\r\n%s" % (len(raw), raw)


async def test_an_account_at_dovecot_is_imported_once(
    account: OwnedAccount, dovecot: Dovecot, port: int
) -> None:
    dovecot.say(
        b'APPEND INBOX (\\Seen work) "09-Sep-2001 03:46:40 +0200" ' + literal(RAW % 1),
        b"APPEND INBOX " + literal(RAW % 2),
        b'CREATE "Lists.Entw&APw-rfe"',
        b'APPEND "Lists.Entw&APw-rfe" ' + literal(RAW % 3),
        b"APPEND Gesendet " + literal(RAW % 4),
    )
    report = await fetch(account, port)
    assert report.mailboxes == {"INBOX": 2, "Lists/Entwürfe": 1, "Sent": 1}
    one, two = await stored(account)
    assert (one.raw, two.raw) == (RAW % 1, RAW % 2)
    assert set(one.flags) == {"\\Seen", "work"}
    assert one.internal_date == 1_000_000_000
    again = await fetch(account, port)
    assert (again.done, again.present, dict(again.odd)) == (0, 0, {})
    assert b"UNSEEN 1" in dovecot.say(b"STATUS INBOX (UNSEEN)")  # nothing changed there


async def test_a_mailbox_made_anew_at_dovecot_brings_nothing_twice(
    account: OwnedAccount, dovecot: Dovecot, port: int
) -> None:
    """It has another UIDVALIDITY; uids that were remembered mean nothing then."""
    name = b'"Old & new &AOk-"'.replace(b" & ", b" &- ")
    mails = [b"APPEND %s " % name + literal(RAW % number) for number in range(5)]
    dovecot.say(b"CREATE " + name, *mails[:4])
    assert (await fetch(account, port)).mailboxes == {"Old & new é": 4}
    before = dovecot.say(b"STATUS %s (UIDVALIDITY)" % name)
    dovecot.say(b"DELETE " + name, b"CREATE " + name, mails[4], *mails[1:3])
    assert dovecot.say(b"STATUS %s (UIDVALIDITY)" % name) != before
    report = await fetch(account, port)
    assert (report.mailboxes, report.present) == ({"Old & new é": 1}, 2)
    again = await fetch(account, port)
    assert (again.done, again.present) == (0, 0)


async def test_names_that_must_be_quoted_come_as_they_are(
    account: OwnedAccount, dovecot: Dovecot, port: int
) -> None:
    names = {
        b'"a \\"b\\" (c) {3}"': 'a "b" (c) {3}',
        b'"100%25"': "100_25",  # a wildcard of LIST is no character of ours
        b'"back\\\\slash"': "back\\slash",
        b'"&ZeVnLIqe-"': "日本語",
        b'"x.y.z"': "x/y/z",
    }
    for number, name in enumerate(names):
        dovecot.say(b"CREATE " + name, b"APPEND %s " % name + literal(RAW % number))
    report = await fetch(account, port)
    assert report.mailboxes == dict.fromkeys(names.values(), 1)
    assert (await fetch(account, port)).done == 0


async def test_dovecot_reads_what_we_export(account: OwnedAccount, dovecot: Dovecot) -> None:
    flags = ("\\Seen", "\\Flagged", "work")
    await account.append(INBOX, [NewMessage(raw=RAW % 1, flags=flags, internal_date=1_000_000_000)])
    made = await account.create_mailbox("Lists/Entwürfe")
    await account.append(made.mailbox_id, [NewMessage(raw=RAW % 2)])
    await take_out(account, dovecot.home / "Maildir")
    dovecot.own()
    said = dovecot.say(
        b"SELECT INBOX", b"UID FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])", b'LIST "" "*"'
    )
    assert RAW % 1 in said
    assert all(flag.encode() in said for flag in flags)
    assert b"09-Sep-2001" in said
    assert b"Lists.Entw&APw-rfe" in said
    folder = dovecot.say(b'SELECT "Lists.Entw&APw-rfe"', b"FETCH 1 (BODY.PEEK[])")
    assert RAW % 2 in folder
