"""What comes out: the same octets, flags and dates, again only what is new, and nothing outside the folder."""

from __future__ import annotations

import hashlib
import mailbox
import os
from contextlib import closing
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, NewMessage
from leap.mail.local import OwnedAccount
from leap.mail.porting.eml import FolderSource
from leap.mail.porting.file_names import level_name, maildir_folder, mbox_path
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_writer import MboxTarget
from tests.mail.porting.test_importing import FORMS, mails
from tests.mail.porting.test_maildir import folder
from tests.mail.porting.trip import bring_in, open_account, raws, stored, take_out

DATE = 1_000_000_000
RAW = b"Subject: a\r\n\r\nFrom x\r\n>From y\r\nend\r\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(at: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((at / "cur").iterdir())}


async def fill(account: OwnedAccount) -> None:
    message = NewMessage(
        raw=RAW, flags=("\\Seen", "\\Flagged", "$Forwarded", "work"), internal_date=DATE
    )
    await account.append(INBOX, [message, NewMessage(raw=b"Subject: b\n\nLF as it came\n")])
    made = await account.create_mailbox("Lists/../Entwürfe.1")
    await account.append(made.mailbox_id, [NewMessage(raw=RAW)])


async def test_a_maildir_holds_octets_flags_and_dates(
    tmp_path: Path, account: OwnedAccount
) -> None:
    await fill(account)
    report = await take_out(account, tmp_path / "out")
    assert report.mailboxes == {"INBOX": 2, "Lists/../Entwürfe.1": 1}
    contents = files(tmp_path / "out")
    [name] = [name for name in contents if name.startswith(f"{DATE}.")]
    assert contents[name] == RAW.replace(b"\r\n", b"\n")
    assert name.endswith(":2,FPSa")
    assert (tmp_path / "out" / "cur" / name).stat().st_mtime == DATE
    assert (tmp_path / "out" / "cur" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out" / "dovecot-keywords").read_text() == "0 work\n"
    assert b"Subject: b\n\nLF as it came\n" in contents.values()
    with closing(mailbox.Maildir(str(tmp_path / "out"), create=False)) as box:
        assert len(box) == 2
        assert box.list_folders() == ["Lists.&AC4-&AC4-.Entw&APw-rfe&AC4-1"]


async def test_a_second_export_adds_only_what_is_new(tmp_path: Path, account: OwnedAccount) -> None:
    await fill(account)
    out = tmp_path / "out"
    await take_out(account, out)
    first = files(out)
    renamed = next(iter(first))
    os.rename(out / "cur" / renamed, out / "cur" / (renamed + "T"))  # a mail program set a flag
    again = await take_out(account, out)
    assert (again.done, again.present, len(files(out))) == (0, 3, 2)
    await account.append(INBOX, [NewMessage(raw=b"Subject: c\r\n\r\n")])
    assert (await take_out(account, out)).done == 1
    (out / "tmp" / "left over").write_bytes(b"of a crash")
    assert (await take_out(account, out)).done == 0


async def test_what_was_imported_comes_out_as_it_was(tmp_path: Path, account: OwnedAccount) -> None:
    source = folder(
        tmp_path / "in", *((f"cur/{n}:2,S", raw) for n, raw in enumerate(FORMS.values()))
    )
    await bring_in(account, source)
    await take_out(account, tmp_path / "out")
    assert sorted(map(sha256, files(tmp_path / "out").values())) == sorted(
        map(sha256, FORMS.values())
    )
    for line_ends, bare in (("crlf", b""), ("lf", b"\r\n")):
        at = tmp_path / line_ends
        await take_out(account, at, line_ends=line_ends)  # type: ignore[arg-type]
        assert all(
            (bare == b"\r\n" and b"\r\n" not in data) or (line_ends == "crlf" and b"\r\n" in data)
            for data in files(at).values()
        )
    again = await bring_in(account, tmp_path / "out")
    assert (again.done, again.present) == (0, 3)


async def test_an_mbox_grows_and_gives_its_messages_back(
    tmp_path: Path, account: OwnedAccount
) -> None:
    await fill(account)
    target = MboxTarget(tmp_path / "out")
    assert (await take_out(account, target)).done == 3
    path = tmp_path / "out" / "INBOX.mbox"
    with MboxFile(path, "mboxrd") as box:
        found = list(box.messages(lambda _: None, 1 << 40))
    assert found[0].raw == RAW.replace(b"\r\n", b"\n")
    assert found[0].internal_date == DATE
    with closing(mailbox.mbox(str(path), create=False)) as theirs:
        assert [message["subject"] for message in theirs] == ["a", "b"]
    assert (tmp_path / "out" / "Lists" / "&AC4-&AC4-").is_dir()
    before = path.read_bytes()
    assert (await take_out(account, target)).done == 0
    await account.append(INBOX, [NewMessage(raw=b"Subject: no line end\r\n\r\nend")])
    report = await take_out(account, target)
    assert (report.done, dict(report.odd)) == (1, {"no-line-end": 1})
    assert path.read_bytes().startswith(before)
    assert (await take_out(account, target)).done == 0
    other = await open_account(tmp_path / "other.db")
    back = await bring_in(other, FolderSource(tmp_path / "out", "mboxrd"))
    assert back.mailboxes == {"INBOX": 3, "Lists/../Entwürfe.1": 1}
    await other.close()


async def test_an_mbox_that_was_cut_by_a_crash_is_made_whole(
    tmp_path: Path, account: OwnedAccount
) -> None:
    await fill(account)
    target = MboxTarget(tmp_path / "box", single=True)
    inbox = (await account.list_mailboxes())[0]
    writer = target.writer(inbox.name)
    writer.close()
    await take_out_inbox(account, target)
    whole = (tmp_path / "box").read_bytes()
    (tmp_path / "box").write_bytes(whole + b"From MAILER-DAEMON Sun Sep  9 01:46:40 2001\nSubj")
    (tmp_path / "box.growing").write_text(f"{len(whole)}\n")
    await account.append(INBOX, [NewMessage(raw=b"Subject: c\r\n\r\n")])
    await take_out_inbox(account, target)
    grown = (tmp_path / "box").read_bytes()
    assert grown.startswith(whole + b"From MAILER-DAEMON ")
    assert grown.endswith(b"\nSubject: c\n\n\n")
    assert not (tmp_path / "box.growing").exists()


async def take_out_inbox(account: OwnedAccount, target: MboxTarget) -> None:
    from leap.mail.porting.exporting import ExportOptions, export_mail
    from leap.mail.porting.report import PortingReport

    inbox = (await account.list_mailboxes())[0]
    await export_mail(account, target, [inbox], ExportOptions(), PortingReport())


async def test_flags_in_an_mbox_only_when_asked_for(tmp_path: Path, account: OwnedAccount) -> None:
    await fill(account)
    target = MboxTarget(tmp_path / "box", single=True, status=True)
    await take_out_inbox(account, target)
    with MboxFile(tmp_path / "box", "mboxrd") as box:
        one, two = box.messages(lambda _: None, 1 << 40)
    assert set(one.flags) == {"\\Seen", "\\Flagged", "$Forwarded", "work"}
    assert one.raw.startswith(b"Status: RO\nX-Status: F\nX-Keywords: ")
    assert two.flags == ()


def test_names_stay_inside_the_folder() -> None:
    for name in (
        "../../etc/passwd",
        "..",
        "a/../..",
        "/abs",
        "a//b",
        "\0",
        "x" * 900,
        ".",
        "~",
        "é" * 300,
    ):
        place = maildir_folder(name)
        assert "/" not in place
        assert place.strip(".")
        assert "\0" not in place
        assert len(place) <= 220
        for level in mbox_path(name):
            assert level not in (".", "..", "")
            assert "/" not in level
            assert not level.startswith(".")
    assert level_name("x" * 900) != level_name("x" * 901)


async def test_links_in_the_folder_of_an_export_are_not_followed(
    tmp_path: Path, account: OwnedAccount
) -> None:
    await fill(account)
    elsewhere = folder(tmp_path / "elsewhere")
    out = folder(tmp_path / "out")
    (out / maildir_folder("Lists/../Entwürfe.1")).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        await take_out(account, out)
    assert files(elsewhere) == {}
    (tmp_path / "box").symlink_to(tmp_path / "elsewhere" / "box")
    with pytest.raises(OSError, match="symbolic links"):
        await take_out_inbox(account, MboxTarget(tmp_path / "box", single=True))


async def test_the_corpus_travels_in_and_out(corpus: Path, tmp_path: Path) -> None:
    """Every mbox of the corpus, and a part of its messages, as files: SHA-256 in is SHA-256 out."""
    account = await open_account(tmp_path / "store.db")
    expected: dict[str, int] = {}
    for path in sorted((corpus / "mbox").rglob("*.mbox*")):
        with MboxFile(path) as box:
            for one in box.messages(lambda _: None, 1 << 40):
                expected[sha256(one.raw)] = 1
    single = [
        path
        for path in sorted((corpus / "mikel-mail").glob("*"))
        if not path.read_bytes().startswith(b"From ")
    ]
    for path in single:
        expected[sha256(path.read_bytes())] = 1
    source = tmp_path / "in"
    source.mkdir()
    for number, path in enumerate(single):
        (source / f"{number}.eml").write_bytes(path.read_bytes())
    reports = [
        await bring_in(account, FolderSource(corpus / "mbox")),
        await bring_in(account, source),
    ]
    reports.append(await bring_in(account, source))
    assert reports[2].done == 0
    out = await take_out(account, tmp_path / "out")
    assert out.done == sum(report.done for report in reports)
    written = {
        sha256(path.read_bytes())
        for path in (tmp_path / "out").rglob("*")
        if path.parent.name == "cur"
    }
    assert written <= expected.keys()
    assert len(expected.keys() - written) <= sum(report.refused for report in reports)
    await account.close()


async def test_rows_come_out_in_the_order_of_uids(tmp_path: Path, account: OwnedAccount) -> None:
    await bring_in(account, folder(tmp_path / "in", *mails(120)))
    await take_out_inbox(account, MboxTarget(tmp_path / "box", single=True))
    with MboxFile(tmp_path / "box", "mboxrd") as box:
        read = [one.raw for one in box.messages(lambda _: None, 1 << 40)]
    assert [one.replace(b"\n", b"\r\n") for one in read] == raws(await stored(account))
