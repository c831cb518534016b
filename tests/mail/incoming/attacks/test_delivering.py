"""All attack mails through the whole of receiving: each is there once, stops no other, and is not believed too much."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from leap.keymanager.canonical import canonical
from leap.mail.contract import INBOX
from leap.mail.incoming.opening import Opened
from tests.mail.incoming.attacks import people
from tests.mail.incoming.attacks.test_attacks import FOLDER, ROWS
from tests.mail.incoming.verdicts.judging import Row, lies, states
from tests.mail.travel import FakeProvider, Person, open_person


async def received(reader: Person, rows: Sequence[Row]) -> None:
    for row in rows:
        reader.provider.deliver(people.BOB, (FOLDER / row.file).read_bytes())
    while await reader.incoming.process_once():
        pass
    assert reader.provider.waiting(people.BOB) == 0


@pytest.fixture
async def reader(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Person]:
    """Bob with the key that the mails are for; the directory knows what his ring knows in the table."""
    person = await open_person(provider, tmp_path / "bob", "bob", with_key=False)
    await person.keys.own.add(people.bob())
    for name in people.KNOWN - {"bob"}:
        provider.certificates[canonical(people.ADDRESSES[name])] = people.certificate_of(
            name
        ).binary
    yield person
    await person.close()


async def test_each_is_delivered_once_with_no_better_verdict_than_is_due(reader: Person) -> None:
    await received(reader, ROWS)
    rows = await reader.account.rows(INBOX)
    assert len(rows) == len(ROWS)
    kept = await reader.account.metadata([row.row_id for row in rows])
    for row, one in zip(ROWS, kept, strict=True):
        told = states(one.security.signatures)
        assert one.security.encryption == row.encryption, row.file
        assert told.count("good") == row.signatures.count("good"), row.file
        assert len(told) == len(row.signatures), row.file


async def test_none_of_them_teaches_a_key_of_alice(reader: Person) -> None:
    """Mallory's key comes attached and in an Autocrypt field; the directory's stays hers."""
    hers = people.certificate_of("alice").fingerprint
    before = await reader.keys.find_certificate(people.ALICE)
    await received(reader, [r for r in ROWS if r.kind in ("others-keys", "key-ids", "from-tricks")])
    after = await reader.keys.find_certificate(people.ALICE)
    assert before is not None
    assert after is not None
    assert (before.certificate.fingerprint, after.certificate.fingerprint) == (hers, hers)


async def test_what_is_opened_later_is_believed_no_more_than_at_once(
    provider: FakeProvider, tmp_path: Path
) -> None:
    """The key comes after all the mails: each that was closed then opens in its place, with the verdict that is due."""
    bob = await open_person(provider, tmp_path / "bob", "bob", with_key=False)
    for name in people.KNOWN - {"bob"}:
        address = canonical(people.ADDRESSES[name])
        provider.certificates[address] = people.certificate_of(name).binary
    await received(bob, ROWS)
    arrived = await bob.account.rows(INBOX)
    due = {one.message_id: row for one, row in zip(arrived, ROWS, strict=True)}
    await bob.keys.own.add(people.bob())
    while await bob.incoming.reopening.retry():
        pass
    rows = await bob.account.rows(INBOX)
    kept = await bob.account.metadata([row.row_id for row in rows])
    assert len(rows) == len(ROWS)
    for one, described in zip(rows, kept, strict=True):
        row, status = due[one.message_id], described.security
        assert status.encryption == row.encryption, row.file
        good = states(status.signatures).count("good")
        assert good == row.signatures.count("good"), row.file
        opened = Opened(await bob.account.read(one.row_id), status, None)
        assert lies(opened) == [], row.file
    await bob.close()
