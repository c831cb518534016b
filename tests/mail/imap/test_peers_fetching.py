"""fetchmail and getmail, which carry mail away: what they hand on, and what they leave on the server.

Without the program a test is skipped with that reason; where CI=true it fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX
from leap.mail.imap import ImapServer
from leap.mail.memory import MemoryAccount
from tests.conftest import needs_program
from tests.mail.imap.talk import PASSWORD, USER, fill, mail
from tests.mail.imap.test_peers import run

MAILS = [
    mail("plain", "body\r\n"),
    mail("dots", ".\r\n..\r\n. .\r\nFrom here\r\n"),
    mail("eight bits", "Grüße\r\n"),
    mail("large", ("x" * 70 + "\r\n") * 3_000),
]


@pytest.fixture
async def account() -> AsyncIterator[MemoryAccount]:
    account = MemoryAccount()
    await fill(account, MAILS)
    yield account
    await account.close()


def as_kept(raw: bytes) -> bytes:
    """A mail as Unix programs keep it."""
    return raw.replace(b"\r\n", b"\n")


async def fetchmail(server: ImapServer, home: Path, *options: str) -> list[bytes]:
    """Runs fetchmail once; what it handed on, in its order."""
    program = needs_program("fetchmail")
    (home / "got").mkdir(exist_ok=True)
    for old in (home / "got").iterdir():
        old.unlink()
    config = home / "fetchmailrc"
    config.write_text(
        f"""
poll 127.0.0.1 protocol IMAP port {server.address[1]} no dns
  user "{USER}" password "{PASSWORD}" sslproto "" no rewrite {" ".join(options)}
  mda "cat > {home}/got/$(ls {home}/got | wc -l)"
"""
    )
    config.chmod(0o600)
    arguments = [program, "-f", str(config), "--nodetach", "--invisible", "--silent"]
    await run([*arguments, "--idfile", str(home / "ids"), "--pidfile", str(home / "pid")], home)
    return [path.read_bytes() for path in sorted((home / "got").iterdir())]


async def test_fetchmail_keeps_mail_that_it_shall_keep(
    server: ImapServer, account: MemoryAccount, tmp_path: Path
) -> None:
    got = await fetchmail(server, tmp_path, "keep", "fetchall")
    assert got == [as_kept(raw) for raw in MAILS]
    rows = await account.rows(INBOX)
    assert len(rows) == len(MAILS)
    assert all("\\Seen" in row.flags for row in rows)
    await fill(account, [mail("later")])
    assert await fetchmail(server, tmp_path, "keep") == [as_kept(mail("later"))]


async def test_fetchmail_takes_mail_away(
    server: ImapServer, account: MemoryAccount, tmp_path: Path
) -> None:
    assert await fetchmail(server, tmp_path, "no keep") == [as_kept(raw) for raw in MAILS]
    assert await account.rows(INBOX) == []


@pytest.mark.parametrize("takes_away", [False, True])
async def test_getmail_hands_on_each_mail_once(
    server: ImapServer, account: MemoryAccount, tmp_path: Path, takes_away: bool
) -> None:
    program = needs_program("getmail")
    (tmp_path / "mail").mkdir()
    (tmp_path / "getmailrc").write_text(
        f"""
[retriever]
type = SimpleIMAPRetriever
server = 127.0.0.1
port = {server.address[1]}
username = {USER}
password = {PASSWORD}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > {tmp_path}/mail/$$")
allow_root_commands = true
unixfrom = false
[options]
delete = {str(takes_away).lower()}
read_all = false
delivered_to = false
received = false
verbose = 0
"""
    )
    command = [program, f"--getmaildir={tmp_path}", "--rcfile=getmailrc"]
    await run(command, tmp_path)

    def bodies() -> list[bytes]:
        return sorted(path.read_bytes() for path in (tmp_path / "mail").iterdir())

    got = bodies()
    assert len(got) == len(MAILS)
    # getmail puts Return-Path and its own X- fields on top, and leaves the rest.
    for raw in MAILS:
        assert sum(as_kept(raw).partition(b"\n\n")[2] in one for one in got) >= 1
    left = await account.rows(INBOX)
    assert len(left) == (0 if takes_away else len(MAILS))
    await fill(account, [mail("later", "later\r\n")])
    await run(command, tmp_path)
    assert len(bodies()) == len(MAILS) + 1, "each mail came once"
