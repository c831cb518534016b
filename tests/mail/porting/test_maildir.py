"""Maildirs as other programs leave them."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

from leap.mail.local import OwnedAccount
from leap.mail.porting.found import SourceMailbox
from leap.mail.porting.maildir import MaildirSource
from tests.mail.porting.test_mbox import SEPARATOR
from tests.mail.porting.trip import bring_in, raws, stored


def folder(at: Path, *files: tuple[str, bytes]) -> Path:
    for part in ("cur", "new", "tmp"):
        (at / part).mkdir(parents=True, exist_ok=True)
    for name, data in files:
        (at / name).write_bytes(data)
    return at


async def test_flags_keywords_and_dates_come_along(tmp_path: Path, account: OwnedAccount) -> None:
    at = folder(
        tmp_path / "mail",
        ("cur/1.a:2,FSa", b"Subject: one\n\nx\n"),
        ("cur/2.b;2,DPRT", b"Subject: two\n\nx\n"),
        ("new/3.c", b"Subject: three\n\nx\n"),
        ("tmp/4.d", b"Subject: not delivered\n\nx\n"),
    )
    (at / "dovecot-keywords").write_text("0 $Label1\nnonsense\n1 work\n")
    (at / "dovecot-uidlist").write_text("3 V1 N4\n")
    (at / ".uidvalidity").write_text("1\n4\n")
    (at / "cur" / ".hidden").write_text("x")
    os.utime(at / "cur" / "1.a:2,FSa", (1_000_000_000, 1_000_000_000))
    report = await bring_in(account, at)
    one, two, three = await stored(account)
    assert set(one.flags) == {"\\Flagged", "\\Seen", "$Label1"}
    assert one.internal_date == 1_000_000_000
    assert set(two.flags) == {"\\Draft", "$Forwarded", "\\Answered", "\\Deleted"}
    assert (three.flags, three.raw) == ((), b"Subject: three\r\n\r\nx\r\n")
    assert (report.done, report.mailboxes, dict(report.odd)) == (3, {"INBOX": 3}, {})


async def test_folders_of_maildir_plus_plus_become_mailboxes(
    tmp_path: Path, account: OwnedAccount
) -> None:
    root = mailbox.Maildir(str(tmp_path / "mail"))
    root.add(b"Subject: top\n\n")
    root.add_folder("Sent").add(b"Subject: sent\n\n")
    root.add_folder("Lists.Entw&APw-rfe").add(b"Subject: list\n\n")
    report = await bring_in(account, tmp_path / "mail")
    assert report.mailboxes == {"INBOX": 1, "Sent": 1, "Lists/Entwürfe": 1}
    sent = {info.name: info for info in await account.list_mailboxes()}["Sent"]
    assert (sent.mailbox_id, sent.special_use) == ("sent", "\\Sent")
    again = await bring_in(account, tmp_path / "mail", into="Old/Mail")
    assert again.mailboxes == {"Old/Mail": 1, "Old/Mail/Sent": 1, "Old/Mail/Lists/Entwürfe": 1}


def test_folders_in_folders_become_mailboxes(tmp_path: Path) -> None:
    folder(tmp_path / "Inbox")
    folder(tmp_path / "Work")
    folder(tmp_path / "Work" / "2025")
    assert MaildirSource(tmp_path).mailboxes() == [
        SourceMailbox("INBOX"),
        SourceMailbox("Work"),
        SourceMailbox("Work/2025"),
    ]


async def test_links_pipes_and_folders_are_told_and_never_followed(
    tmp_path: Path, account: OwnedAccount
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"Subject: not mail of this folder\n\n")
    at = folder(tmp_path / "mail", ("cur/1:2,", b"Subject: one\n\n"))
    (at / "cur" / "2:2,").symlink_to(secret)
    os.mkfifo(at / "cur" / "3:2,")
    (at / "cur" / "4:2,").mkdir()
    (at / "loop").symlink_to(at)
    (at / ".Sub").symlink_to(at)
    report = await bring_in(account, at)
    assert raws(await stored(account)) == [b"Subject: one\r\n\r\n"]
    assert dict(report.odd) == {"unreadable": 4}
    told = {Path(one.where).name: one.sentence for one in report.oddities}
    assert told["2:2,"] == "It cannot be read: it is a link."
    assert "no ordinary file" in told["3:2,"]


async def test_names_that_are_no_names_are_replaced(tmp_path: Path, account: OwnedAccount) -> None:
    names = [b"a\nb", b"\xff\xfe", b"..x", b"star*%", b" ", b"\xc2\x85"]
    for number, name in enumerate(names):
        at = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"mail", b"." + name)))
        folder(at, ("cur/1:2,", b"Subject: %d\n\n" % number))
    folder(tmp_path / "mail", ("cur/\udcff\n:2,S", b"junk without a field"))
    report = await bring_in(account, tmp_path / "mail")
    assert report.done == len(names)
    assert all(name.isprintable() for name in report.mailboxes)
    [odd] = report.oddities
    assert (odd.kind, odd.where.isprintable(), odd.where.isascii()) == ("not-mail", True, True)


async def test_what_is_too_large_or_no_mail_stays_out(
    tmp_path: Path, account: OwnedAccount
) -> None:
    folder(
        tmp_path,
        ("cur/1:2,", b"Subject: large\n\n" + b"x" * 1000),
        ("cur/2:2,", b""),
        ("cur/3:2,", os.urandom(300).replace(b":", b"")),
        ("cur/4:2,", b"Subject: grows\n" + b"\n" * 700),
        ("cur/5:2,", b"Subject: fine\n\n"),
        ("cur/6:2,", b"\nno fields, yet a message\n"),
    )
    report = await bring_in(account, tmp_path, limit=1000)
    assert (report.done - 1, dict(report.odd)) == (1, {"too-large": 2, "not-mail": 2})
    assert report.refused == 4


async def test_what_lies_beside_maildirs_is_imported_too(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = tmp_path / "mail"
    folder(at / "Work", ("cur/1:2,S", b"Subject: one\n\n"))
    folder(at / "Work" / ".Sub.2025", ("cur/1:2,", b"Subject: two\n\n"))
    (at / "Work" / "dovecot-uidlist").write_text("3 V1 N4\n")
    (at / "Work" / "note.eml").write_bytes(b"Subject: five\n\n")
    (at / "Old").mkdir()
    (at / "Old" / "box").write_bytes(SEPARATOR + b"Subject: three\n\n")
    (at / "Old" / "letter.eml").write_bytes(b"Subject: four\n\n")
    (at / "notes.txt").write_text("To do: nothing\n")
    (at / "link").symlink_to(at)
    report = await bring_in(account, at)
    assert report.mailboxes == {"Work": 2, "Work/Sub/2025": 1, "Old": 1, "Old/box": 1}
    assert dict(report.odd) == {"skipped": 1, "unreadable": 1}
    assert (await bring_in(account, at)).done == 0


async def test_a_folder_named_in_latin_1_keeps_its_name(
    tmp_path: Path, account: OwnedAccount
) -> None:
    folder(
        Path(os.fsdecode(bytes(tmp_path) + b"/mail/Gr\xfc\xdfe")), ("new/1", b"Subject: one\n\n")
    )
    assert (await bring_in(account, tmp_path / "mail")).mailboxes == {"Grüße": 1}
