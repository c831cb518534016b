"""UIDVALIDITY and uids as a mail program sees them: through a restart, an upgrade, and a mailbox made anew."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, AccountBackend, MailboxId, MailboxStatus, NewMessage
from leap.mail.local import LocalAccount, OwnedAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.vault import open_vault
from tests.golden.making import ADDRESS, FOLDER, PASSPHRASE
from tests.mail.devices import ALICE, KEY
from tests.mail.imap.talk import Talk, fill, mail

_VALUE = re.compile(rb"(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)")
VERSIONS = sorted(path.name for path in FOLDER.glob("[0-9]*.[0-9]*"))


async def numbers(account: AccountBackend, mailbox: str) -> tuple[dict[bytes, int], bytes]:
    """What SELECT says of a mailbox, and the uids and flags in it."""
    talk = await Talk(account).log_in()
    said = await talk.send(b"s SELECT " + mailbox.encode() + b"\r\n")
    assert b"s OK " in said, said
    values = {name: int(value) for name, value in _VALUE.findall(said)}
    rows = await talk.send(b"f UID FETCH 1:* FLAGS\r\n")
    await talk.end()
    assert 1 <= values[b"UIDVALIDITY"] < 2**32
    return values, rows.replace(b" \\Recent", b"").replace(b"\\Recent", b"")


async def test_a_restart_keeps_uidvalidity_uids_and_modseqs(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    account = await OwnedAccount.open_path(path, KEY, ALICE)
    await fill(account, [mail()] * 5)
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a STORE 2,5 +FLAGS (\\Deleted)\r\nb EXPUNGE\r\nc STORE 1 FLAGS (kw)\r\n")
    await talk.end()
    before = await numbers(account, "INBOX")
    await account.close()
    account = await OwnedAccount.open_path(path, KEY, ALICE)
    assert await numbers(account, "INBOX") == before
    talk = await Talk(account).log_in()
    assert b"[APPENDUID %d 6]" % before[0][b"UIDVALIDITY"] in await talk.send(
        b"a APPEND INBOX {1+}\r\nx\r\n"
    )
    await talk.end()
    await account.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_store_of_a_former_version_keeps_its_uids(version: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / version / "device", tmp_path / "device")
    (tmp_path / "device").chmod(0o700)
    expected = json.loads((FOLDER / version / "expected.json").read_text())["mailboxes"]
    path = tmp_path / "device/store.db"
    key = await open_vault(tmp_path / "device/vault.json", PASSPHRASE)
    raw = await Soledad.open(path, key)  # without the mailbox index: as the former version left it
    left = await raw.read(_boxes)
    rows = await raw.read(_rows)
    await raw.close()
    assert len(left) >= 6
    store = await open_mail_store(path, key)
    account = LocalAccount(store, ADDRESS)
    names = {info.name: info for info in await account.list_mailboxes()}
    assert set(expected) <= set(names)
    for info in names.values():
        status = await account.status(info.mailbox_id)
        assert _numbers_of(status) == left[info.mailbox_id]
        found = [(row.uid, row.row_id) for row in await account.rows(info.mailbox_id)]
        assert found == rows.get(info.mailbox_id, [])
        values, _ = await numbers(account, f'"{info.name}"')
        assert values[b"UIDVALIDITY"] == left[info.mailbox_id][0]
    uid_next = left[INBOX][1]
    [made] = await account.append(INBOX, [NewMessage(raw=mail())])
    assert made.uid == uid_next
    await account.close()
    await store.close()


def _numbers_of(status: MailboxStatus) -> tuple[int, int, int]:
    return status.uid_validity, status.uid_next, status.highest_modseq


def _boxes(connection: Connection) -> dict[str, tuple[int, int, int]]:
    found = connection.execute("SELECT mailbox_id, uid_validity, uid_next, modseq FROM mail_box")
    return {
        mailbox_id: (validity, uid_next, modseq) for mailbox_id, validity, uid_next, modseq in found
    }


def _rows(connection: Connection) -> dict[str, list[tuple[int, str]]]:
    rows: dict[str, list[tuple[int, str]]] = {}
    for mailbox_id, uid, row_id in connection.execute(
        "SELECT mailbox_id, uid, row_id FROM mail_index ORDER BY mailbox_id, uid"
    ):
        rows.setdefault(mailbox_id, []).append((uid, row_id))
    return rows


@pytest.mark.parametrize("kind", ["memory", "soledad"])
async def test_a_mailbox_made_anew_has_a_larger_uidvalidity(kind: str, tmp_path: Path) -> None:
    account: AccountBackend = MemoryAccount()
    if kind == "soledad":
        account = await OwnedAccount.open_path(tmp_path / "store.db", KEY, ALICE)
    known: set[int] = set()
    for name in ("box", "box", "other", "box"):
        talk = await Talk(account).log_in()
        assert b"c OK" in await talk.send(b"c CREATE " + name.encode() + b"\r\n")
        said = await talk.send(b"a APPEND " + name.encode() + b" {1+}\r\nx\r\n")
        (validity,) = re.findall(rb"APPENDUID (\d+) 1\]", said)
        assert int(validity) > max(known, default=0), (
            "a program would take it for the one that was deleted"
        )
        known.add(int(validity))
        if name == "box":
            assert b"d OK" in await talk.send(b"d DELETE box\r\n")
        await talk.end()
    await account.close()


@pytest.mark.parametrize("kind", ["memory", "soledad"])
async def test_a_renamed_mailbox_keeps_its_uidvalidity_and_a_new_one_of_its_name_has_another(
    kind: str, tmp_path: Path
) -> None:
    account: AccountBackend = MemoryAccount()
    if kind == "soledad":
        account = await OwnedAccount.open_path(tmp_path / "store.db", KEY, ALICE)
    talk = await Talk(account).log_in()
    await talk.send(b"a CREATE box\r\nb APPEND box {1+}\r\nx\r\n")
    before, _ = await numbers(account, "box")
    assert b"r OK" in await talk.send(b"c CREATE else\r\nr RENAME box away\r\n")
    assert (await numbers(account, "away"))[0] == before
    await talk.send(b"d CREATE box\r\n")
    after, _ = await numbers(account, "box")
    assert after[b"UIDVALIDITY"] > before[b"UIDVALIDITY"]
    # RENAME INBOX takes the messages to a new mailbox; INBOX itself goes on (RFC 3501 6.3.5)
    await fill(account, [mail()] * 2)
    inbox, _ = await numbers(account, "INBOX")
    assert b"e OK" in await talk.send(b"e RENAME INBOX old\r\n")
    again, _ = await numbers(account, "INBOX")
    assert again[b"UIDVALIDITY"] == inbox[b"UIDVALIDITY"]
    assert again[b"UIDNEXT"] == inbox[b"UIDNEXT"]
    assert (await numbers(account, "old"))[0][b"UIDVALIDITY"] not in (
        inbox[b"UIDVALIDITY"],
        before[b"UIDVALIDITY"],
    )
    await talk.end()
    await account.close()


async def test_who_has_a_mailbox_selected_that_is_made_anew_is_sent_away() -> None:
    account = MemoryAccount()
    box = await account.create_mailbox("box")
    talk = await Talk(account).log_in("box")
    await account.delete_mailbox(box.mailbox_id)
    await account.create_mailbox("box")
    assert b"* BYE " in await talk.send(b"a NOOP\r\n")
    await talk.end()
    assert MailboxId(box.mailbox_id) not in {
        info.mailbox_id for info in await account.list_mailboxes()
    }
