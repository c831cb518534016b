"""What the original did wrong when it sent mail, one test for each fault and named for it."""

from __future__ import annotations

import email
import re
import smtplib
import ssl
from pathlib import Path

import pytest

from leap.keymanager.openpgp import decrypt, generate
from leap.mail.contract import NotPermitted
from leap.mail.outgoing.header_protection import restore
from leap.mail.outgoing.pgp_mime import find_ciphertext
from leap.mail.outgoing.submission import SubmissionUnavailable
from tests.conftest import ROOT
from tests.mail.outgoing.test_gateway import server, talk
from tests.mail.outgoing.test_submission import DecidingHandler, client, handler
from tests.mail.outgoing.test_submission import server as smtp
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, open_person, own_key

__all__ = ["handler", "server", "smtp"]

ALICE, BOB, CAROL = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol"))
STRANGER = "stranger@elsewhere.test"
DAY = 86400


def message_ids(person: Person) -> set[str]:
    """The Message-ID of everything that was handed over, outside and inside the encryption."""
    keys = [own_key(name) for name in ("bob", "carol", "dave")]
    found = set()
    for _, _, _, message in person.provider.submitted:
        found.add(email.message_from_bytes(message)["Message-ID"])
        ciphertext = find_ciphertext(message)
        if ciphertext is not None:
            inside = restore(decrypt(ciphertext, keys).plaintext)
            assert inside is not None
            found.add(email.message_from_bytes(inside.added + inside.message)["Message-ID"])
    return found


@pytest.mark.parametrize("given", [True, False], ids=["with an id", "without one"])
async def test_new_message_id_per_recipient(alice: Person, given: bool) -> None:
    for name in ("bob", "carol", "dave"):
        alice.provider.certificates[f"{name}@{DOMAIN}"] = own_key(name).certificate.binary
    raw = mail(extra=f"Cc: {CAROL}\r\nBcc: dave@{DOMAIN}\r\n".encode())
    if not given:
        raw = raw.replace(b"Message-ID: <plan@example.test>\r\n", b"")
    await alice.outgoing.submit(raw, ALICE, [BOB, CAROL, f"dave@{DOMAIN}"])
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 2  # one for Bcc
    (only,) = message_ids(alice)
    assert (only == "<plan@example.test>") is given


async def test_250_ok_to_the_mua_with_no_durable_queue(
    server, alice: Person, bob: Person, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    """What the mail program was told is sent survives the process, and is sent once by the next one."""
    alice.provider.offline = True
    assert await talk(server, lambda client: client.sendmail(ALICE, [BOB], mail())) == {}
    await alice.close()
    again = await open_person(alice.provider, tmp_path / "alice", "alice")
    (entry,) = await again.outgoing.entries()
    assert entry.state == "queued"
    alice.provider.offline = False
    again.clock.time += DAY
    await again.sender.process_due()
    assert [recipients for _, _, recipients, _ in alice.provider.submitted] == [(BOB,)]
    await again.close()


async def test_250_is_not_said_when_the_queue_cannot_be_written(
    server, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    async def broken(*_: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(alice.store, "transact", broken)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        await talk(server, lambda client: client.sendmail(ALICE, [BOB], mail()))
    assert 400 <= refusal.value.smtp_code < 500


async def test_expired_key_at_send_time_falls_back_to_clear_text_silently(alice: Person) -> None:
    """At submission it is a refusal with the reason; while the mail waits, a report; never clear text."""
    old = generate(BOB, now=lambda: NOW - 30 * DAY, lifetime=10 * DAY)
    alice.provider.certificates[BOB] = old.certificate.binary
    with pytest.raises(NotPermitted, match="expired"):
        await alice.outgoing.submit(mail(), ALICE, [BOB])
    soon = generate(CAROL, now=lambda: NOW - DAY, lifetime=DAY + 3600)
    alice.provider.certificates[CAROL] = soon.certificate.binary
    await alice.outgoing.submit(mail(to=CAROL), ALICE, [CAROL])
    alice.clock.time += 2 * 3600
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    (report,) = await alice.messages()
    assert b"expired" in report


async def test_accounts_leaking_into_each_other_when_sending(alice: Person, bob: Person) -> None:
    """One process sends for two accounts: each outbox, key and Sent mailbox is its owner's."""
    provider: FakeProvider = alice.provider
    await alice.outgoing.submit(mail(to=STRANGER), ALICE, [STRANGER])
    assert await bob.outgoing.entries() == []
    await bob.sender.process_due()
    assert provider.submitted == []
    with pytest.raises(NotPermitted):
        await bob.outgoing.submit(mail(to=STRANGER), ALICE, [STRANGER])
    await alice.sender.process_due()
    assert [sender for _, sender, _, _ in provider.submitted] == [ALICE]
    assert [
        row
        for box in await bob.account.list_mailboxes()
        for row in await bob.account.rows(box.mailbox_id)
    ] == []


async def test_tls_without_verification(smtp, handler: DecidingHandler) -> None:  # type: ignore[no-untyped-def]
    """A server that nobody vouches for gets nothing, and no other context is taken; nor is one made anywhere."""
    submission = client(smtp, tls=ssl.create_default_context())
    with pytest.raises(SubmissionUnavailable, match="certificate"):
        await submission.submit("i", ALICE, [BOB], mail())
    assert handler.mails == []
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        client(smtp, tls=careless)
    unverified = re.compile(
        r"CERT_NONE|CERT_OPTIONAL|_create_unverified_context|check_hostname = False"
    )
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "src").rglob("*.py"))
        if unverified.search(path.read_text())
    ]
    # a stranger's server, which is sent to in clear if it has no TLS at all (RFC 7435)
    assert found == ["src/leap/provider/queue/handover.py"]
