"""What is stored, and that nothing comes in twice: run again, moved, deleted, renamed, put there by others, cut."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import textwrap
from concurrent.futures import Future
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, NewMessage, NoSuchMailbox, StorageFull
from leap.mail.local import LocalAccount, OwnedAccount, open_mail_store
from leap.mail.porting import batches
from leap.mail.porting.batches import FileBatches
from leap.mail.porting.found import Found, SourceMailbox
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.line_ends import served_form, source_form, unix_form
from leap.mail.porting.report import PortingReport
from tests.mail.index_check import check_index
from tests.mail.porting.test_maildir import folder
from tests.mail.porting.trip import KEY, bring_in, open_account, raws, stored

FORMS = {
    "lf": b"Subject: a\n\nbare \r stays\n",
    "crlf": b"Subject: b\r\n\r\nbare \r stays\r\n",
    "mixed": b"Subject: c\n\nboth\r\nkinds\n",
}


def mails(count: int) -> list[tuple[str, bytes]]:
    return [
        (f"cur/{n}:2,S", b"Subject: %d\nMessage-ID: <%d@x>\n\nbody %d\n" % (n, n, n))
        for n in range(count)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_line_ends_can_be_had_back(form: str) -> None:
    served = served_form(FORMS[form])
    assert served.imported_as == form
    assert b"\n" not in served.raw.replace(b"\r\n", b"")
    if form == "mixed":
        assert served.original == FORMS[form]
    else:
        assert source_form(served.raw, form) == FORMS[form]
        assert served.original is None
    assert unix_form(served.raw).replace(b"\n", b"\r\n") == served.raw
    assert unix_form(b"a\r\nb\n") == b"a\r\nb\n"


async def test_octets_are_stored_exactly_and_originals_beside(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = folder(tmp_path / "mail", *((f"cur/{form}:2,", raw) for form, raw in FORMS.items()))
    report = await bring_in(account, at)
    rows = await account.rows(INBOX)
    served = {(await account.read(row.row_id))[9:10]: row.row_id for row in rows}
    for form, letter in zip(FORMS, (b"a", b"b", b"c"), strict=True):
        raw = await account.read(served[letter])
        assert hashlib.sha256(raw).digest() == hashlib.sha256(served_form(FORMS[form]).raw).digest()
    assert await account.read_original(served[b"c"]) == FORMS["mixed"]
    assert await account.read_original(served[b"a"]) is None
    assert dict(report.odd) == {"mixed-lines": 1}
    [metadata] = await account.metadata([served[b"a"]])
    assert metadata.security.encryption == "local"


async def test_a_second_run_brings_in_only_what_is_new(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = folder(tmp_path / "mail", *mails(5))
    assert (await bring_in(account, at)).done == 5
    again = await bring_in(account, at)
    assert (again.done, again.present) == (0, 5)
    os.rename(at / "cur" / "1:2,S", at / "cur" / "1:2,RS")  # other flags are no other message
    folder(at, ("new/9", b"Subject: 9\n\n"))
    third = await bring_in(account, at)
    assert (third.done, third.present) == (1, 5)
    assert len(await stored(account)) == 6
    await check_index(account.store)


async def test_what_was_moved_renamed_or_deleted_does_not_come_back(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = folder(tmp_path / "mail", *mails(3))
    await bring_in(account, at, into="Old")
    old = {info.name: info for info in await account.list_mailboxes()}["Old"]
    one, two, _ = await account.rows(old.mailbox_id)
    await account.move(old.mailbox_id, [one.uid], INBOX)
    await account.store_flags(old.mailbox_id, [two.uid], "add", ["\\Deleted"])
    await account.expunge(old.mailbox_id)
    await account.rename_mailbox(old.mailbox_id, "Older")
    again = await bring_in(account, at, into="Old")
    assert (again.done, again.present, again.deleted) == (0, 2, 1)
    assert "Old" not in {info.name for info in await account.list_mailboxes()}
    for _ in range(2):  # asked for, what was deleted comes back once
        back = await bring_in(account, at, into="Old", again=True)
    assert (back.done, back.present) == (0, 3)
    assert len(await stored(account, "Old")) == 1


async def test_what_came_by_other_ways_is_known_by_its_octets(
    tmp_path: Path, account: OwnedAccount
) -> None:
    await account.append(INBOX, [NewMessage(raw=b"Subject: 1\r\n\r\n")])
    at = folder(tmp_path / "mail", ("cur/1:2,", b"Subject: 1\n\n"), ("cur/2:2,", b"Subject: 2\n\n"))
    report = await bring_in(account, at)
    assert (report.done, report.present) == (1, 1)
    elsewhere = await bring_in(account, at, into="Copy")
    assert elsewhere.done == 2  # another mailbox is another place


async def test_the_same_message_twice_in_a_mailbox_is_one(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = folder(tmp_path / "mail", *((f"cur/{n}:2,", b"Subject: a\n\n") for n in range(450)))
    report = await bring_in(account, at)
    assert (report.done, report.odd["duplicate"], len(report.oddities)) == (1, 449, 200)


async def test_a_dry_run_changes_nothing(tmp_path: Path, account: OwnedAccount) -> None:
    at = folder(tmp_path / "mail", *mails(3))
    report = await bring_in(account, at, into="New", dry_run=True)
    assert (report.done, report.mailboxes) == (3, {"New": 3})
    assert "New" not in {info.name for info in await account.list_mailboxes()}


async def test_two_devices_of_an_account_give_the_same_ids(tmp_path: Path) -> None:
    at = folder(tmp_path / "mail", *mails(2))
    found = []
    for name in ("desk", "phone"):
        store = await open_mail_store(tmp_path / f"{name}.db", KEY)
        store._keys = type(store._keys)("account", bytes(32), store._keys.epochs)
        account = LocalAccount(store, "alice@example.test")
        await bring_in(account, at)
        found.append({row.row_id for row in await account.rows(INBOX)})
        await account.close()
        await store.close()
    assert found[0] == found[1]
    assert len(found[0]) == 2


class Endless:
    """A source that never ends, for imports that are cut."""

    def __init__(self, fail_at: int = 0) -> None:
        self._fail_at = fail_at

    def mailboxes(self) -> list[SourceMailbox]:
        return [SourceMailbox("INBOX")]

    def messages(self, *_: object):  # type: ignore[no-untyped-def]
        n = 0
        while True:
            if self._fail_at and n == self._fail_at:
                raise OSError(5, "Input/output error", "/somewhere")
            yield Found(b"Subject: %d\n\n" % n, f"message {n}")
            n += 1


async def test_a_source_that_fails_leaves_what_came_before(
    account: OwnedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_MESSAGES", 200)
    with pytest.raises(OSError, match="Input/output"):
        await bring_in(account, Endless(fail_at=450))
    assert len(await account.rows(INBOX)) % 200 == 0
    await check_index(account.store)


async def test_a_cancelled_import_ends_at_once(account: OwnedAccount) -> None:
    seen = asyncio.Event()
    report = PortingReport()
    task = asyncio.create_task(
        import_mail(
            account,
            FileBatches(Endless()),
            ImportOptions(),
            report,
            progress=lambda *_: seen.set(),
        )
    )
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await account.rows(INBOX)) >= report.done


async def test_a_mailbox_deleted_meanwhile_ends_the_import(
    account: OwnedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_MESSAGES", 200)

    class Deleting(Endless):
        def messages(self, *_: object):  # type: ignore[no-untyped-def]
            for n in range(500):
                if n == 450:
                    loop.call_soon_threadsafe(gone.set)
                    resumed.result()
                yield Found(b"Subject: %d\n\n" % n, f"message {n}")

    loop, gone, resumed = asyncio.get_running_loop(), asyncio.Event(), Future[None]()

    async def delete() -> None:
        await gone.wait()
        infos = {info.name: info for info in await account.list_mailboxes()}
        while "Old" not in infos:
            await asyncio.sleep(0)
            infos = {info.name: info for info in await account.list_mailboxes()}
        await account.delete_mailbox(infos["Old"].mailbox_id)
        resumed.set_result(None)

    deleting = asyncio.create_task(delete())
    with pytest.raises(NoSuchMailbox):
        await bring_in(account, Deleting(), into="Old")
    await deleting
    assert await account.rows(INBOX) == []


async def test_a_full_disk_is_said_and_nothing_is_half(
    tmp_path: Path, account: OwnedAccount
) -> None:
    at = folder(tmp_path / "mail", *mails(300))
    pages = await account.store.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await account.store.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 20}") and None)
    with pytest.raises(StorageFull):
        await bring_in(account, at)
    await account.store.write(lambda c: c.execute("PRAGMA max_page_count = 1000000") and None)
    assert (await bring_in(account, at)).done + 0 <= 300
    assert len(await account.rows(INBOX)) == 300
    await check_index(account.store)


KILLED = """
    import asyncio, os, sys
    from pathlib import Path
    from leap.mail.porting import batches, importing
    from tests.mail.porting.trip import bring_in, open_account

    async def main():
        account = await open_account(Path(sys.argv[1]))
        batches.MOST_MESSAGES = 50
        importing.FIRST_IN_THREAD = 1000  # other processes would hold standard output open
        insert = importing._Import._insert
        done = 0
        async def insert_and_say(self, *arguments):
            nonlocal done
            stored = await insert(self, *arguments)
            done += 1
            if done == 2:
                print("two batches", flush=True)
                await asyncio.sleep(60)
            return stored
        importing._Import._insert = insert_and_say
        await bring_in(account, Path(sys.argv[2]))

    if __name__ == "__main__":
        asyncio.run(main())
"""


async def test_an_import_that_is_killed_goes_on_where_it_ended(tmp_path: Path) -> None:
    at = folder(tmp_path / "mail", *mails(150))
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    store = tmp_path / "store.db"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), str(store), str(at)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"two batches\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    account = await open_account(store)
    before = len(await account.rows(INBOX))
    assert before == 100
    report = await bring_in(account, at)
    assert (report.done, report.present) == (150 - before, before)
    contents = raws(await stored(account))
    assert len(contents) == len(set(contents)) == 150
    await check_index(account.store)
    await account.close()
