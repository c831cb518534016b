"""Mail that could not be opened is opened when a key comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from leap.keymanager.openpgp import encrypt, generate
from leap.mail.contract import INBOX, MailboxId
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.mail.incoming.test_layers import CLEAR, HEADER, TEXT, crlf, multipart
from tests.mail.incoming.test_opening import OUTER
from tests.mail.travel import NOW, FakeProvider, Person, mail, open_person, own_key

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
