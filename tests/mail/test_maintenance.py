"""Maintenance of a store of mail: into another account and back, indexes that are wrong, indexes built anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.keymanager.keys import KeyManager
from leap.mail.contract import INBOX, MailboxId, NewMessage
from leap.mail.export_rules import MailCarrying
from leap.mail.incoming.consumed import CONSUMED
from leap.mail.incoming.quarantine import QUARANTINE
from leap.mail.local import LocalAccount
from leap.soledad.maintenance import export_store, import_store, rebuild, verify
from tests.conformance.account_backend import ENCODED, PLAIN
from tests.mail.devices import MailDevice, MailWorld
from tests.mail.index_check import check_index
from tests.mail.travel import FakeProvider, material_of, open_person

PASSPHRASE, COSTS = "keep this apart", (2, 32 * 1024, 1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    yield world
    await world.close()


async def filled(world: MailWorld) -> MailDevice:
    laptop = await world.device("laptop")
    account = laptop.account
    work = await account.create_mailbox("Work/2026 Äpfel")
    await account.rename_mailbox(MailboxId("archive"), "Old things")
    await account.set_subscribed(work.mailbox_id, False)
    raws = [PLAIN, ENCODED, PLAIN + b"\r\nmore", b"Subject: bare LF\n\nodd \xff\r bytes\n"]
    for number, raw in enumerate(raws):
        where = INBOX if number < 2 else work.mailbox_id
        message = NewMessage(
            raw=raw, flags=("\\Seen", "$Label")[: number % 3], internal_date=number
        )
        await account.append(where, [message])
    uids = [row.uid for row in await account.rows(INBOX)]
    await account.copy(INBOX, uids[:1], work.mailbox_id)
    await laptop.sync()
    return laptop


async def everything(account: LocalAccount) -> dict[str, Any]:
    """All that a person could see of an account, and the octets of every message."""
    out: dict[str, Any] = {}
    for info in await account.list_mailboxes():
        shown = []
        for row in await account.rows(info.mailbox_id):
            [meta] = await account.metadata([row.row_id])
            raw = await account.read(row.row_id)
            shown.append((raw, row.flags, row.size, row.internal_date, meta.subject))
        out[info.name] = (info.special_use, info.subscribed, sorted(shown))
    return out


async def test_an_account_moves_to_another_provider_with_all_its_mail(
    world: MailWorld, tmp_path: Path
) -> None:
    laptop = await filled(world)
    before = await everything(laptop.account)
    await export_store(
        laptop.store, tmp_path / "export", PASSPHRASE, costs=COSTS, carrying=MailCarrying()
    )
    (tmp_path / "elsewhere").mkdir()
    elsewhere = MailWorld(tmp_path / "elsewhere")
    try:
        new = await elsewhere.device("new")
        for expected in (5, 0):
            taken = await import_store(
                new.store, tmp_path / "export", PASSPHRASE, carrying=MailCarrying()
            )
            assert taken.rows == expected
            assert await everything(new.account) == before
            await check_index(new.store)
        await new.sync()
        second = await elsewhere.device("second")
        await second.sync()
        assert await everything(second.account) == before
        assert (await verify(new.store, remote=new.remote, sync=new.engine.sync)).clean
    finally:
        await elsewhere.close()


async def test_keys_come_along_under_the_ids_of_the_new_account(tmp_path: Path) -> None:
    provider = FakeProvider()
    alice = await open_person(provider, tmp_path / "alice", "alice")
    bob = await open_person(provider, tmp_path / "bob", "bob")
    try:
        for doc_id, kind in (("q", QUARANTINE), ("c", CONSUMED)):
            await alice.store.create_doc({"type": kind}, doc_id)
        own = (await alice.keys.own.key()).fingerprint
        await alice.keys.contacts.set_policy("carol@example.test", "require")
        made = await export_store(
            alice.store, tmp_path / "export", PASSPHRASE, costs=COSTS, carrying=MailCarrying()
        )
        assert made.left_out.keys() >= {QUARANTINE, CONSUMED}
        before = {key.fingerprint for key in await bob.keys.list_keys()}
        await import_store(bob.store, tmp_path / "export", PASSPHRASE, carrying=MailCarrying())
        keys = KeyManager(bob.store, bob.address, bob.provider)
        # bob goes on signing with his own key, and can read what is encrypted to alice's
        assert (await keys.own.key()).fingerprint != own
        assert {key.fingerprint for key in await keys.own_keys()} >= {own}
        bound = await keys.keyring.find(alice.address)
        assert bound is not None
        assert bound.certificate.fingerprint == own
        assert {key.fingerprint for key in await keys.list_keys()} >= before | {own}
        assert (await keys.contacts.find("carol@example.test")).policy == "require"
        keys.close()
        assert await bob.store.get_doc("q") is None
    finally:
        await alice.close()
        await bob.close()


async def test_which_own_key_is_in_use_comes_along(tmp_path: Path) -> None:
    provider = FakeProvider()
    alice = await open_person(provider, tmp_path / "alice", "alice", with_key=False)
    moved = await open_person(
        provider,
        tmp_path / "moved",
        "alice",
        with_key=False,
        material=material_of("alice at another provider", "moved"),
    )
    try:
        old = await alice.keys.own.ensure()
        new = await alice.keys.own_changes.rotate_key()
        own = await moved.keys.own.ensure()
        await export_store(
            alice.store, tmp_path / "export", PASSPHRASE, costs=COSTS, carrying=MailCarrying()
        )
        await import_store(moved.store, tmp_path / "export", PASSPHRASE, carrying=MailCarrying())
        first, *rest = [key.fingerprint for key in await moved.keys.own_keys()]
        assert first == new.fingerprint
        assert set(rest) == {old.fingerprint, own.fingerprint}
    finally:
        await alice.close()
        await moved.close()


async def test_an_index_built_anew_gives_the_same_answers_under_a_larger_validity(
    world: MailWorld,
) -> None:
    laptop = await filled(world)
    before = await everything(laptop.account)
    boxes = {
        i.name: await laptop.account.status(i.mailbox_id)
        for i in await laptop.account.list_mailboxes()
    }
    assert await rebuild(laptop.store) == ["indexes", "MailIndex"]
    await check_index(laptop.store)
    assert await everything(laptop.account) == before
    for info in await laptop.account.list_mailboxes():
        status, old = await laptop.account.status(info.mailbox_id), boxes[info.name]
        assert status.uid_validity > max(box.uid_validity for box in boxes.values())
        assert (status.messages, status.unseen, status.size) == (old.messages, old.unseen, old.size)
    assert (await verify(laptop.store)).clean


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mail_index SET flags = '\\Deleted' WHERE uid = 1",
        "DELETE FROM mail_index WHERE uid = 1",
        "UPDATE mail_index SET mailbox_id = 'trash' WHERE uid = 1 AND mailbox_id = 'inbox'",
        "UPDATE mail_box SET messages = messages + 1",
        "UPDATE mail_box SET unseen = 7 WHERE mailbox_id = 'inbox'",
        "UPDATE mail_box SET uid_next = 1",
        "DELETE FROM mail_metadata",
        "DELETE FROM mail_document",
        "UPDATE mail_index SET row_id = 'x' WHERE uid = 1 AND mailbox_id = 'inbox'",
        "DELETE FROM mail_box WHERE mailbox_id = 'trash'",
    ],
)
async def test_a_wrong_index_is_found_and_built_anew(world: MailWorld, statement: str) -> None:
    laptop = await filled(world)
    assert (await verify(laptop.store)).clean
    before = await everything(laptop.account)

    def damage(connection: Any) -> None:
        assert connection.execute(statement).rowcount
        # as the index itself does when mailboxes change
        connection.execute("UPDATE mail_directory SET stamp = stamp + 1")

    await laptop.store.write(damage)
    report = await verify(laptop.store)
    assert set(report.counts) == {"derived-wrong"}
    assert "bitmask doctor rebuild" in report.findings[0].sentence
    await rebuild(laptop.store)
    assert (await verify(laptop.store)).clean
    assert await everything(laptop.account) == before
