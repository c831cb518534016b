"""Folders of single messages and of mboxes, as mail programs leave them."""

from __future__ import annotations

import os
from pathlib import Path

from leap.mail.local import OwnedAccount
from tests.mail.porting.test_mbox import SEPARATOR
from tests.mail.porting.trip import bring_in, raws, stored

RAW = b"Subject: %s\n\nx\n"


def put(at: Path, data: bytes) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(data)


async def test_folders_and_files_become_mailboxes(tmp_path: Path, account: OwnedAccount) -> None:
    at = tmp_path / "mail"
    box = b"".join(SEPARATOR + RAW % name + b"\n" for name in (b"one", b"two"))
    put(at / "top.eml", RAW % b"top")
    put(at / "Work" / "a.EML", RAW % b"a")
    put(at / "Work" / "2025" / "12", RAW % b"MH")
    put(at / "Inbox", box)
    put(at / "Inbox.msf", b"index: of Thunderbird")
    put(at / "Inbox.sbd" / "Friends", box)
    put(at / "Old.mbox" / "mbox", box)
    put(at / "Old.mbox" / "table_of_contents", b"\0\1\2")
    put(at / "Entw&APw-rfe.mbox", box)
    put(at / "notes.txt", b"To do: nothing\n")
    put(at / ".hidden", RAW % b"hidden")
    report = await bring_in(account, at)
    assert report.mailboxes == {
        "INBOX": 3,
        "Work": 1,
        "Work/2025": 1,
        "INBOX/Friends": 2,
        "Old": 2,
        "Entwürfe": 2,
    }
    skipped = {Path(one.where).name for one in report.oddities}
    assert skipped == {"Inbox.msf", "table_of_contents", "notes.txt", ".hidden"}


async def test_an_mbox_may_begin_with_empty_lines(tmp_path: Path, account: OwnedAccount) -> None:
    put(tmp_path / "box", b"\n\r\n" + SEPARATOR + RAW % b"one" + b"\n" + SEPARATOR + RAW % b"two")
    assert (await bring_in(account, tmp_path)).mailboxes == {"box": 2}


async def test_one_file_is_read_whatever_its_name(tmp_path: Path, account: OwnedAccount) -> None:
    put(tmp_path / "mail.txt", RAW % b"named")
    os.utime(tmp_path / "mail.txt", (1_000_000_000, 1_000_000_000))
    assert (await bring_in(account, tmp_path / "mail.txt", into="There")).done == 1
    [one] = await stored(account, "There")
    assert (one.raw, one.internal_date) == (b"Subject: named\r\n\r\nx\r\n", 1_000_000_000)


async def test_links_and_pipes_among_messages_are_not_read(
    tmp_path: Path, account: OwnedAccount
) -> None:
    put(tmp_path / "secret", RAW % b"secret")
    put(tmp_path / "mail" / "a.eml", RAW % b"a")
    (tmp_path / "mail" / "b.eml").symlink_to(tmp_path / "secret")
    (tmp_path / "mail" / "loop").symlink_to(tmp_path / "mail")
    os.mkfifo(tmp_path / "mail" / "c.eml")
    os.mkfifo(tmp_path / "mail" / "Inbox")
    report = await bring_in(account, tmp_path / "mail")
    assert raws(await stored(account)) == [b"Subject: a\r\n\r\nx\r\n"]
    assert (report.odd["unreadable"], report.odd["skipped"]) == (3, 1)
