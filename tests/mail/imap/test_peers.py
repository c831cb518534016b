"""Programs people use, from Debian's packages, against the server: mbsync both ways, neomutt reading.

Without the program a test is skipped with that reason; where CI=true it fails.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

from leap.mail.contract import INBOX, MailboxId
from leap.mail.imap import ImapServer
from leap.mail.memory import MemoryAccount
from tests.conftest import needs_program
from tests.mail.imap.talk import PASSWORD, USER, fill, mail

PATIENCE = 60


async def run(arguments: list[str], home: Path) -> str:
    """Runs a program to its end; its words are shown when it fails."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    text = output.decode("utf-8", "replace")
    assert process.returncode == 0, text
    return text


def mbsync_config(home: Path, port: int) -> Path:
    config = home / "mbsyncrc"
    config.write_text(
        f"""
IMAPAccount local
Host 127.0.0.1
Port {port}
User {USER}
Pass {PASSWORD}
SSLType None
AuthMechs PLAIN

IMAPStore far
Account local

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
SyncState *
"""
    )
    (home / "mail").mkdir()
    return config


def maildir(home: Path, name: str) -> dict[str, Path]:
    """The messages of a Maildir by subject."""
    found = {}
    for path in [*(home / "mail" / name).glob("cur/*"), *(home / "mail" / name).glob("new/*")]:
        lines = path.read_text("utf-8", "replace").split("\n")
        subject = next(line for line in lines if line.startswith("Subject: "))
        found[subject.removeprefix("Subject: ")] = path
    return found


def flags_of(path: Path) -> str:
    return path.name.partition(":2,")[2]


async def subjects(account: MemoryAccount, mailbox: MailboxId = INBOX) -> dict[str, set[str]]:
    rows = await account.rows(mailbox)
    metadata = await account.metadata([row.row_id for row in rows])
    return {m.subject: set(row.flags) for m, row in zip(metadata, rows, strict=True)}


async def test_mbsync_keeps_both_sides_alike(
    server: ImapServer, account: MemoryAccount, tmp_path: Path
) -> None:
    mbsync = needs_program("mbsync")
    config = mbsync_config(tmp_path, int(server.address[1]))
    work = (await account.create_mailbox("Work/Größe")).mailbox_id
    await fill(account, [mail(f"far {n}", "body\r\n" * (n + 1)) for n in range(20)])
    await fill(account, [mail("seen", "x\r\n")], flags=["\\Seen", "\\Flagged"])
    await fill(account, [mail("in work", "y\r\n")], mailbox=work)
    await fill(account, [mail("large", "z" * 70 + "\r\n" * 60_000)])
    command = [mbsync, "-V", "-c", str(config), "-a"]

    await run(command, tmp_path)
    near = maildir(tmp_path, "INBOX")
    assert set(near) == set(await subjects(account))
    assert flags_of(near["seen"]) == "FS"
    assert set(maildir(tmp_path, "Work/Gr&APYA3w-e")) == {"in work"}
    sent = (await account.rows(INBOX))[3]
    expected = (await account.read(sent.row_id)).replace(b"\r\n", b"\n")
    text = near["far 3"].read_bytes()
    assert [line for line in text.split(b"\n") if not line.startswith(b"X-TUID")] == expected.split(
        b"\n"
    )

    # Changes on both sides at once: flags, new mail, removals, a new folder.
    path = near["far 1"]
    path.rename(path.with_name(path.name.partition(":")[0] + ":2,S"))
    near["far 2"].unlink()
    (tmp_path / "mail/INBOX/new/1.near").write_bytes(
        mail("near", "from here\r\n").replace(b"\r\n", b"\n")
    )
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "mail/Own" / folder).mkdir(parents=True)
    (tmp_path / "mail/Own/new/1.own").write_bytes(mail("own", "in own\r\n").replace(b"\r\n", b"\n"))
    uids = {
        s: row.uid
        for s, row in zip(await subjects(account), await account.rows(INBOX), strict=True)
    }
    await account.store_flags(INBOX, [uids["far 5"]], "add", ["\\Answered"])
    await account.store_flags(INBOX, [uids["far 6"]], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail("later", "new\r\n")])

    await run(command, tmp_path)
    near, far = maildir(tmp_path, "INBOX"), await subjects(account)
    assert set(near) == set(far)
    assert {"near", "later", "far 1", "far 5"} <= set(far)
    assert not {"far 2", "far 6"} & set(far)
    assert "\\Seen" in far["far 1"]
    assert "R" in flags_of(near["far 5"])
    own = next(m for m in await account.list_mailboxes() if m.name == "Own")
    assert set(await subjects(account, own.mailbox_id)) == {"own"}

    before = [row.modseq for row in await account.rows(INBOX)]
    await run(command, tmp_path)
    assert [row.modseq for row in await account.rows(INBOX)] == before, "nothing was left to do"


async def test_neomutt_reads_flags_copies_moves_and_deletes(
    server: ImapServer, account: MemoryAccount, tmp_path: Path
) -> None:
    neomutt = needs_program("neomutt")
    await fill(account, [mail(f"subject {n}", f"body {n}\r\n") for n in range(5)])
    copied = tmp_path / "copied"
    config = tmp_path / "neomuttrc"
    config.write_text(
        f"""
set imap_user="{USER}" imap_pass="{PASSWORD}"
set ssl_force_tls=no ssl_starttls=no
set folder="imap://127.0.0.1:{server.address[1]}/" spoolfile="+INBOX"
set confirmappend=no confirmcreate=no wait_key=no delete=yes quit=yes move=no mail_check=0 sleep_time=0
set header_cache="{tmp_path}/cache" message_cachedir="{tmp_path}/messages" mbox_type=mbox
"""
    )
    keys = (
        f"<first-entry><flag-message><tag-pattern>~A<enter><tag-prefix><copy-message>{copied}<enter>"
        "<untag-pattern>~A<enter><last-entry><display-message><exit>"
        "<first-entry><next-entry><delete-message><sync-mailbox>"
        "<last-entry><save-message>=Archive<enter><sync-mailbox><quit>"
    )
    await on_a_terminal([neomutt, "-n", "-F", str(config), "-e", f'push "{keys}"'], tmp_path)
    text = copied.read_text()
    assert [f"subject {n}" in text and f"body {n}" in text for n in range(5)] == [True] * 5
    far = await subjects(account)
    assert set(far) == {"subject 0", "subject 2", "subject 3"}
    assert "\\Flagged" in far["subject 0"]
    archive = next(m for m in await account.list_mailboxes() if m.name == "Archive")
    moved = await subjects(account, archive.mailbox_id)
    assert "\\Seen" in moved["subject 4"]
    (row,) = await account.rows(archive.mailbox_id)
    assert await account.read(row.row_id) == mail("subject 4", "body 4\r\n")


async def on_a_terminal(arguments: list[str], home: Path) -> None:
    """Runs a program that wants a terminal, and throws away what it draws."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    drawn = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            drawn.extend(os.read(own, 65_536))
        except OSError:  # the other end is closed
            loop.remove_reader(own)

    loop.add_reader(own, read)
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env={
                "HOME": str(home),
                "PATH": os.environ["PATH"],
                "LC_ALL": "C.UTF-8",
                "TERM": "xterm",
            },
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(bytes(drawn[-4_000:]).decode("utf-8", "replace")) from None
        assert code == 0, bytes(drawn[-4_000:]).decode("utf-8", "replace")
    finally:
        loop.remove_reader(own)
        os.close(own)
        os.close(its)
