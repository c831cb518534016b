"""A whole Dovecot as the source, with its log-in over STARTTLS; and servers that lie before TLS begins."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leap.mail.contract import AccountUnavailable
from leap.mail.local import OwnedAccount
from leap.mail.porting.imap_client import ImapServerAddress
from leap.mail.porting.imap_source import ImapSource
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.report import PortingReport
from leap.provider.tls import self_made_context
from tests.conftest import IN_CI
from tests.mail.porting.test_imap_source import RAW, no_sleep
from tests.mail.porting.trip import stored
from tests.mail.smtp.certificate import contexts

DOVECOT = Path("/usr/sbin/dovecot")
NOBODY = 65534  # Dovecot never works as root
USER, PASSWORD = "alice", "pass word"
SETTINGS = """
protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {uid}
mail_gid = {gid}
mail_location = maildir:{home}/Maildir
ssl = required
ssl_cert = <{home}/tls/server.pem
ssl_key = <{home}/tls/server-key.pem
disable_plaintext_auth = yes
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service stats {{
  chroot =
}}
service anvil {{
  chroot =
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, Path]]:
    """The port of a Dovecot with one message, and the file of its authority."""
    if not DOVECOT.exists():
        if IN_CI:
            pytest.fail("dovecot-imapd is not installed; tools/setup-peers installs it")
        pytest.skip("dovecot-imapd is not installed (tools/setup-peers says how)")
    root = os.getuid() == 0
    uid, gid = (NOBODY, NOBODY) if root else (os.getuid(), os.getgid())
    me = os.environ.get("USER", "nobody")
    users = ("dovecot", "dovenull", "dovecot") if root else (me, me, me)
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name, socket.socket() as free:
        home = Path(name)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        _, authority = self_made_context(home / "tls", ["localhost"])
        (home / "passwd").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        for part in ("cur", "new", "tmp"):
            (home / "Maildir" / part).mkdir(parents=True)
        (home / "Maildir" / "cur" / "1000000000.1.x:2,S").write_bytes(RAW % 1)
        for path in (home / "Maildir", *(home / "Maildir").rglob("*")):
            os.chown(path, uid, gid)
        for path in (home, home / "passwd"):
            path.chmod(0o755)
        config = home / "dovecot.conf"
        internal, login, group = users
        config.write_text(
            SETTINGS.format(
                home=home, internal=internal, login=login, group=group, uid=uid, gid=gid, port=port
            )
        )
        process = subprocess.Popen([str(DOVECOT), "-F", "-c", str(config)])
        try:
            _wait_for(port, home / "log")
            yield port, authority
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.05)  # another program: there is nothing to wait on
    raise AssertionError(log.read_text())


async def fetch(account: OwnedAccount, port: int, tls: ssl.SSLContext) -> PortingReport:
    report = PortingReport()
    address = ImapServerAddress("localhost", port, USER, PASSWORD, tls, starttls=True)
    source = ImapSource(address, account.store, tell=report.tell, sleep=no_sleep)
    await import_mail(account, source, ImportOptions(), report)
    return report


async def test_mail_comes_over_starttls_from_dovecot(
    account: OwnedAccount, server: tuple[int, Path]
) -> None:
    port, authority = server
    trusting = ssl.create_default_context(cafile=str(authority))
    assert (await fetch(account, port, trusting)).done == 1
    assert [one.raw for one in await stored(account)] == [RAW % 1]
    assert (await fetch(account, port, trusting)).done == 0
    with pytest.raises(AccountUnavailable, match="certificate of localhost is not trusted"):
        await fetch(account, port, ssl.create_default_context())


@contextlib.asynccontextmanager
async def liar(*answers: bytes) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that greets with the first of `answers`, and gives each line it gets the next; and what it was told."""
    told = bytearray()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            told.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ((b"* PREAUTH welcome\r\n",), "logged in before TLS"),
        ((b"* OK hi\r\n", b"A1 NO not here\r\n"), "does not begin TLS: .*not here"),
        ((b"* OK hi\r\n", b"A1 BAD what\r\n"), "does not begin TLS"),
        ((b"* OK hi\r\n", b"A1 OK go\r\n* CAPABILITY IMAP4rev1\r\n"), "went on in clear"),
        ((b"* OK hi\r\n", b"A1 OK go\r\n", b"no TLS at all\r\n" * 10), "connection to localhost"),
    ],
)
async def test_who_keeps_tls_from_beginning_is_not_logged_in_to(
    account: OwnedAccount, answers: tuple[bytes, ...], sentence: str
) -> None:
    _, trusting = contexts()
    async with liar(*answers) as (port, told):
        with pytest.raises(AccountUnavailable, match=sentence):
            await fetch(account, port, trusting)
    assert PASSWORD.encode() not in told
    assert b"AUTHENTICATE" not in told
    assert b"LOGIN" not in told
