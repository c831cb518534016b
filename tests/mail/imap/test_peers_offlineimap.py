"""offlineimap, which keeps a Maildir and an account alike in both directions.

Without the program a test is skipped with that reason; where CI=true it fails.
"""

from __future__ import annotations

from pathlib import Path

from leap.mail.contract import INBOX
from leap.mail.imap import ImapServer
from leap.mail.memory import MemoryAccount
from tests.conftest import needs_program
from tests.mail.imap.talk import PASSWORD, USER, fill, mail
from tests.mail.imap.test_peers import flags_of, maildir, run, subjects


def config_of(home: Path, port: int) -> Path:
    config = home / "offlineimaprc"
    config.write_text(
        f"""
[general]
accounts = both
metadata = {home}/state
maxsyncaccounts = 1
[Account both]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {port}
remoteuser = {USER}
remotepass = {PASSWORD}
ssl = no
starttls = no
maxconnections = 1
"""
    )
    return config


async def test_offlineimap_keeps_both_sides_alike(
    server: ImapServer, account: MemoryAccount, tmp_path: Path
) -> None:
    program = needs_program("offlineimap")
    config = config_of(tmp_path, int(server.address[1]))
    work = (await account.create_mailbox("Work")).mailbox_id
    await fill(account, [mail(f"far {n}", "body\r\n" * (n + 1)) for n in range(8)])
    await fill(account, [mail("seen", "x\r\n")], flags=["\\Seen", "\\Flagged"])
    await fill(account, [mail("in work", "y\r\n")], mailbox=work)
    command = [program, "-c", str(config), "-o", "-u", "quiet"]

    await run(command, tmp_path)
    near = maildir(tmp_path, "INBOX")
    assert set(near) == set(await subjects(account))
    assert flags_of(near["seen"]) == "FS"
    assert set(maildir(tmp_path, "Work")) == {"in work"}
    rows = dict(zip(await subjects(account), await account.rows(INBOX), strict=True))
    for subject in ("far 3", "far 7"):
        served = await account.read(rows[subject].row_id)
        assert near[subject].read_bytes() == served.replace(b"\r\n", b"\n")

    # Changes on both sides: flags, new mail, removals.
    path = near["far 1"]
    path.rename(path.parent.parent / "cur" / f"{path.name.partition(':')[0]}:2,S")
    near["far 2"].unlink()
    (tmp_path / "mail/INBOX/new/1.near").write_bytes(
        mail("near", "here\r\n").replace(b"\r\n", b"\n")
    )
    await account.store_flags(INBOX, [rows["far 5"].uid], "add", ["\\Answered"])
    await account.store_flags(INBOX, [rows["far 6"].uid], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail("later", "new\r\n")])

    await run(command, tmp_path)
    near, far = maildir(tmp_path, "INBOX"), await subjects(account)
    assert set(near) == set(far)
    assert {"near", "later", "far 1", "far 5"} <= set(far)
    assert not {"far 2", "far 6"} & set(far)
    assert "\\Seen" in far["far 1"]
    assert "R" in flags_of(near["far 5"])
    assert maildir(tmp_path, "INBOX")["near"].read_bytes().endswith(b"here\n")

    before = [row.modseq for row in await account.rows(INBOX)]
    await run(command, tmp_path)
    assert [row.modseq for row in await account.rows(INBOX)] == before, "nothing was left to do"
