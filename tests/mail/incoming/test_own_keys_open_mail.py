"""Mail to any key its reader ever had is opened: former parts, replaced, revoked, expired and brought along."""

from __future__ import annotations

from pathlib import Path

from leap.keymanager.openpgp import Certificate, encrypt, generate
from leap.keymanager.openpgp.editing import RevocationReason
from leap.mail.outgoing.pgp_mime import wrap
from tests.mail.travel import DOMAIN, NOW, Clock, FakeProvider, open_person

DAY = 24 * 3600
BOB = f"bob@{DOMAIN}"


def _mail_to(certificate: Certificate, at: float, word: str) -> bytes:
    entity = f"Content-Type: text/plain\r\n\r\nTo the {word} key.\r\n".encode()
    armored = encrypt(entity, [certificate], now=lambda: at)
    outer = [("From", f"alice@{DOMAIN}"), ("To", BOB), ("Subject", "...")]
    return wrap(outer, None, armored, "=_between")


async def test_mail_to_every_key_there_ever_was_is_opened(
    provider: FakeProvider, tmp_path: Path
) -> None:
    clock = Clock()
    bob = await open_person(provider, tmp_path / "bob", "bob", clock=clock, with_key=False)
    try:
        mails: dict[str, bytes] = {}

        def note(word: str, certificate: Certificate) -> None:
            mails[word] = _mail_to(certificate, clock(), word)

        own, changes = bob.keys.own, bob.keys.own_changes
        brought = generate(BOB, now=lambda: NOW - 1000 * DAY, lifetime=10 * DAY)
        mails["brought"] = _mail_to(brought.certificate, NOW - 999 * DAY, "brought")
        note("first", (await own.ensure()).certificate)
        clock.time += DAY
        note("rotated", (await changes.rotate_subkey()).certificate)
        clock.time += DAY
        second = await changes.rotate_key()
        note("second", second.certificate)
        clock.time += DAY
        reason = RevocationReason.COMPROMISED
        await changes.revoke(second.fingerprint, reason=reason, replace=True)
        note("third", await own.certificate())
        await own.add(brought)
        clock.time += 20 * 365 * DAY  # all of them have expired
        for raw in mails.values():
            provider.deliver(BOB, raw)
        while provider.waiting(BOB):
            await bob.incoming.process_once()
        served = await bob.messages()
        assert len(served) == len(mails)
        for word in mails:
            line = f"To the {word} key.".encode()
            (found,) = [raw for raw in served if line in raw]
            assert found.startswith(b"X-Leap-Encryption: decrypted")
    finally:
        await bob.close()
