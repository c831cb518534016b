"""The sender's own key when a mail goes out: a revoked one stops it with the reason, an expired one lets it wait."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp import generate
from leap.keymanager.openpgp.editing import RevocationReason
from leap.mail.contract import NotPermitted
from tests.mail.travel import DOMAIN, NOW, Person, mail

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"


async def _revoke(person: Person) -> None:
    own = await person.keys.own.key()
    await person.keys.own.use(own.fingerprint)
    await person.keys.own_changes.revoke(own.fingerprint, reason=RevocationReason.RETIRED)


async def test_a_mail_is_refused_while_the_own_key_is_revoked(alice: Person, bob: Person) -> None:
    await _revoke(alice)
    with pytest.raises(NotPermitted, match=r"your own key cannot sign .*revoked.*`bitmask keys"):
        await alice.outgoing.submit(mail(), ALICE, [BOB])
    assert await alice.outgoing.entries() == []


async def test_a_mail_that_waited_when_the_own_key_was_revoked_makes_a_report(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await _revoke(alice)
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    (report,) = await alice.messages()
    assert b"your own key cannot sign" in report


async def test_a_mail_waits_until_the_expired_own_key_is_extended(
    alice: Person, bob: Person
) -> None:
    short = generate(ALICE, now=lambda: NOW - 5000, lifetime=4000)
    await alice.keys.own.add(short, use=True)
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    (entry,) = await alice.outgoing.entries()
    assert entry.state == "queued"
    assert await alice.keys.own_changes.extend_if_due()
    await alice.outgoing.outbox.make_due()
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 1
    assert await bob.incoming.process_once() == 1
