"""Mail that could not be opened is opened when a key comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import encrypt, generate
from leap.mail.contract import INBOX, MailboxId, RowId, SecurityStatus
from leap.mail.incoming.delivery import Delivery
from leap.mail.incoming.opening import open_mail
from leap.mail.incoming.reopening import Reopening
from leap.mail.incoming.senders import Senders
from leap.mail.incoming.workshop import Workshop
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.keymanager.conftest import FakeDirectory
from tests.mail.devices import ALICE, MailDevice, MailWorld
from tests.mail.incoming.test_layers import CLEAR, HEADER, TEXT, crlf, multipart
from tests.mail.incoming.test_opening import OUTER
from tests.mail.travel import DOMAIN, NOW, Clock, FakeProvider, Person, mail, open_person, own_key

OLD = generate("bob@example.test", now=lambda: NOW - 5000)
FORGED = b"X-Leap-Encryption: decrypted\r\n"


def to_old_key(payload: bytes) -> bytes:
    armored = encrypt(payload, [OLD.certificate], own_key("alice"), now=lambda: NOW)
    return wrap(OUTER, None, crlf(armored), "=_b")


async def arrived(provider: FakeProvider, folder: Path, *raws: bytes) -> Person:
    bob = await open_person(provider, folder, "bob")
    provider.certificates["alice@example.test"] = own_key("alice").certificate.binary
    for raw in raws:
        provider.deliver(bob.address, raw)
    await bob.incoming.process_once()
    return bob


async def test_a_mail_opens_in_its_place_when_the_key_comes(
    provider: FakeProvider, tmp_path: Path
) -> None:
    raw = FORGED + to_old_key(protect(mail(), OUTER))
    bob = await arrived(provider, tmp_path / "bob", raw, mail(body=b"another"))
    [closed, other] = await bob.account.rows(INBOX)
    await bob.account.store_flags(INBOX, [closed.uid], "set", ["\\Flagged", "work"])
    await bob.account.move(INBOX, [closed.uid], MailboxId("archive"))
    assert await bob.incoming.reopening.retry() == 0
    await bob.keys.own.add(OLD)
    assert await bob.incoming.reopening.retry() == 1
    assert [row.row_id for row in await bob.account.rows(INBOX)] == [other.row_id]
    [row] = await bob.account.rows(MailboxId("archive"))
    assert row.message_id == closed.message_id
    assert set(row.flags) == {"\\Flagged", "work"}
    assert row.internal_date == closed.internal_date
    [described] = await bob.account.metadata([row.row_id])
    assert described.security.encryption == "end-to-end"
    assert [one.state for one in described.security.signatures] == ["good"]
    served = await bob.account.read(row.row_id)
    assert served.startswith(b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid")
    assert served.endswith(mail())
    assert await bob.account.read_original(row.row_id) == raw.removeprefix(FORGED)
    assert await bob.incoming.reopening.retry() == 0
    await bob.close()


async def test_a_part_opens_and_what_was_open_stays_open(
    provider: FakeProvider, tmp_path: Path
) -> None:
    part = to_old_key(TEXT).partition(b"MIME-Version: 1.0\r\n")[2]
    bob = await arrived(provider, tmp_path / "bob", HEADER + multipart(CLEAR, part))
    await bob.keys.own.add(OLD)
    assert await bob.incoming.reopening.retry() == 1
    [row] = await bob.account.rows(INBOX)
    [described] = await bob.account.metadata([row.row_id])
    [known] = described.security.parts
    assert (known.section, known.encryption) == ("2", "end-to-end")
    await bob.close()


async def test_it_happens_by_itself(provider: FakeProvider, tmp_path: Path) -> None:
    bob = await arrived(provider, tmp_path / "bob", to_old_key(protect(mail(), OUTER)))
    running = asyncio.create_task(bob.incoming.run())
    changes = bob.account.changes()
    await bob.keys.own.add(OLD)
    async with asyncio.timeout(20):
        while not (await bob.messages())[0].startswith(b"X-Leap-Encryption: decrypted"):
            await anext(changes)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bob.close()


async def test_what_was_expunged_does_not_come_back(provider: FakeProvider, tmp_path: Path) -> None:
    bob = await arrived(provider, tmp_path / "bob", to_old_key(protect(mail(), OUTER)))
    [row] = await bob.account.rows(INBOX)
    await bob.account.store_flags(INBOX, [row.uid], "add", ["\\Deleted"])
    await bob.account.expunge(INBOX)
    await bob.keys.own.add(OLD)
    assert await bob.incoming.reopening.retry() == 0
    assert await bob.account.rows(INBOX) == []
    await bob.close()


class Device:
    """Alice's account on a device that syncs, with what opens mail."""

    def __init__(self, device: MailDevice) -> None:
        self.mail = device
        self.keys = KeyManager(device.store, ALICE, FakeDirectory(), now=Clock())
        workshop = Workshop(device.store, self.keys, DOMAIN, Clock())
        delivery = Delivery(device.account, device.store, self.keys, DOMAIN, lambda rows, tx: None)
        self.reopening = Reopening(device.store, self.keys, workshop, delivery)


async def test_two_devices_that_open_a_mail_at_once_make_one_of_it(tmp_path: Path) -> None:
    world = MailWorld(tmp_path)
    laptop, phone = Device(await world.device("laptop")), Device(await world.device("phone"))
    old = generate(ALICE, now=lambda: NOW - 5000)
    armored = encrypt(protect(mail(), OUTER), [old.certificate], None, now=lambda: NOW)
    raw = wrap(OUTER, None, crlf(armored), "=_b")
    one = open_mail(raw, [], Senders(), own_domain=DOMAIN, now=NOW)
    assert one.security.encryption == "undecryptable"
    await laptop.mail.account.deliver(
        one.served,
        row_id=RowId("ab" * 32),
        security=one.security,
        original=None,
        internal_date=int(NOW),
    )
    await world.settle()
    [closed] = await phone.mail.account.rows(INBOX)
    await phone.mail.account.metadata([closed.row_id])
    await laptop.keys.own.add(old)
    await world.settle()
    assert [await one.reopening.retry() for one in (laptop, phone)] == [1, 1]
    await world.settle()
    shown = [await one.mail.shown() for one in (laptop, phone)]
    assert shown[0] == shown[1]
    assert len(shown[0]["INBOX"]) == 1
    for one_of in (laptop, phone):
        [row] = await one_of.mail.account.rows(INBOX)
        assert row.message_id == closed.message_id
        assert (await one_of.mail.account.read(row.row_id)).endswith(mail())
        one_of.keys.close()
    await world.close()


def test_a_status_of_an_older_version_is_read() -> None:
    old = msgspec.msgpack.encode({"encryption": "end-to-end", "signatures": [{"state": "good"}]})
    status = msgspec.msgpack.decode(old, type=SecurityStatus)
    assert (status.parts, status.headers_differ, status.html, status.provider) == (
        (),
        (),
        False,
        None,
    )
    assert status.signatures[0].level == ""
