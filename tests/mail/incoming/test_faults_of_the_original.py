"""What the original did wrong when it received mail, one test for each fault and named for it; where the others are.

`FAULTS` has every fault that the design lists and that belongs to sending and receiving, with tests that show it gone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.openpgp import encrypt
from leap.mail.contract import INBOX
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from leap.soledad.errors import StoreFull, Unreachable
from tests.conftest import ROOT
from tests.mail.travel import DOMAIN, NOW, Clock, FakeProvider, Person, mail, open_person, own_key

ALICE, BOB, EVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "eve"))
OUTER = [("From", ALICE), ("To", BOB), ("Subject", "[...]")]

HERE = "tests/mail/incoming/test_faults_of_the_original.py"
SENDING = "tests/mail/outgoing/test_faults_of_the_original.py"
PROVIDER = "tests/provider/test_faults_of_the_original.py"
FAULTS: dict[str, tuple[str, ...]] = {
    "forged verdict header inside the encrypted part": (
        f"{HERE}::test_forged_verdict_header_inside_the_encrypted_part",
        "tests/mail/incoming/test_opening.py::test_forged_verdict_fields_leave_every_layer",
        "tests/mail/incoming/attacks/test_attacks.py::test_its_verdict_is_the_one_written_down",
    ),
    "inner From replaces outer after verification": (
        f"{HERE}::test_inner_from_replaces_outer_after_verification",
        "tests/mail/incoming/test_opening.py::test_a_protected_from_that_no_signature_backs_is_not_served",
    ),
    "unknown signer shown as bad": (
        f"{HERE}::test_unknown_signer_shown_as_bad",
        "tests/mail/incoming/test_opening.py::test_an_unknown_signer_is_looked_up_and_a_failed_look_up_is_unknown_key",
    ),
    "plaintext accepted where ciphertext is due": (
        f"{HERE}::test_plaintext_accepted_where_ciphertext_is_due",
        "tests/mail/incoming/test_pipeline.py::test_what_cannot_be_unsealed_is_kept_and_opened_when_the_key_comes",
    ),
    "mail marked processed before it was stored": (
        f"{HERE}::test_mail_marked_processed_before_it_was_stored",
        "tests/mail/incoming/test_pipeline.py::test_nothing_is_acked_that_was_not_pushed",
    ),
    "plaintext stored when encryption at the MX failed": (
        f"{PROVIDER}::test_plaintext_stored_when_encryption_at_the_mx_failed",
        "tests/provider/test_mx.py::test_what_cannot_be_sealed_stays_with_the_sender",
    ),
    "TLS without verification": (
        f"{SENDING}::test_tls_without_verification",
        "tests/mail/outgoing/test_submission.py::test_an_unverified_server_gets_nothing",
        "tests/provider/test_queue.py::test_a_certificate_that_must_be_right_and_is_not_keeps_the_mail",
        "tests/scenarios/test_bad_input.py::test_a_certificate_that_is_not_trusted",
    ),
    "logout that logs nobody out": (
        "tests/scenarios/test_mail_programs.py::test_logging_out_ends_the_sessions_of_that_account_only",
    ),
    "accounts leaking into each other": (
        f"{HERE}::test_accounts_leaking_into_each_other",
        f"{SENDING}::test_accounts_leaking_into_each_other_when_sending",
    ),
    "bytes of mail not preserved": (
        f"{HERE}::test_bytes_of_mail_not_preserved",
        "tests/scenarios/test_corpus_travels.py::test_two_hundred_mails_come_back_as_alice_submitted_them",
    ),
    "new Message-ID per recipient": (f"{SENDING}::test_new_message_id_per_recipient",),
    "250 OK to the MUA with no durable queue": (
        f"{SENDING}::test_250_ok_to_the_mua_with_no_durable_queue",
        "tests/scenarios/test_kills.py::test_every_mail_survives_kills_on_its_way",
    ),
    "expired key at send time falls back to clear text silently": (
        f"{SENDING}::test_expired_key_at_send_time_falls_back_to_clear_text_silently",
        "tests/mail/outgoing/test_sending.py::test_an_expired_key_stops_the_mail_with_the_reason",
    ),
    "offline start": (
        f"{HERE}::test_offline_start",
        "tests/scenarios/test_bad_input.py::test_the_provider_down_at_start_and_a_mail_written_meanwhile",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_the_tests_that_the_table_names(fault: str) -> None:
    for test in FAULTS[fault]:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test


def sealed(message: bytes, signer: str | None, outer: list[tuple[str, str]] = OUTER) -> bytes:
    """A mail as alice's leap.mail, or whoever acts like it, sends it."""
    key = own_key(signer) if signer else None
    payload = protect(message, outer)
    armored = encrypt(payload, [own_key("bob").certificate], key, now=lambda: NOW)
    return wrap(outer, None, armored, "=_b")


async def received(person: Person, raw: bytes) -> bytes:
    """What the person's INBOX serves for a mail that came."""
    person.provider.deliver(person.address, raw)
    await person.incoming.process_once()
    return (await person.messages())[-1]


async def test_forged_verdict_header_inside_the_encrypted_part(bob: Person) -> None:
    forged = (
        b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid; signer=alice@example.test\r\n"
    )
    served = await received(bob, sealed(forged + mail(), None))
    assert served.count(b"X-Leap-Signature") == 1
    assert served.startswith(b"X-Leap-Encryption: decrypted\r\n")
    assert b"X-Leap-Signature: none\r\n" in served
    (metadata,) = await bob.account.metadata([row.row_id for row in await bob.account.rows(INBOX)])
    assert metadata.security.signatures == ()


async def test_inner_from_replaces_outer_after_verification(bob: Person) -> None:
    """Eve signs as eve, is verified as eve, and alice's name stands inside."""
    bob.provider.certificates[EVE] = own_key("eve").certificate.binary
    outer = [("From", EVE), ("To", BOB), ("Subject", "[...]")]
    served = await received(bob, sealed(mail(sender=ALICE), "eve", outer))
    assert b"From: eve@example.test\r\n" in served
    assert ALICE.encode() not in served
    assert b"X-Leap-Signature: valid" not in served


async def test_unknown_signer_shown_as_bad(bob: Person) -> None:
    bob.provider.certificates.pop(ALICE, None)
    served = await received(bob, sealed(mail(), "alice"))
    assert b"X-Leap-Signature: unknown-key" in served
    assert b"X-Leap-Signature: bad" not in served


async def test_plaintext_accepted_where_ciphertext_is_due(bob: Person) -> None:
    """A mail in clear where the provider's inbox holds sealed ones, and one with nothing but the label."""
    assert bob.store.material is not None
    bob.provider.put(BOB, bob.store.material.inbox_keys[0].public.key_id, mail())
    await bob.incoming.process_once()
    assert await bob.messages() == []
    assert len(await bob.incoming.quarantined.items()) == 1
    labelled = wrap(
        OUTER, None, b"-----BEGIN PGP MESSAGE-----\n\nSGk=\n-----END PGP MESSAGE-----\n", "b"
    )
    served = await received(bob, labelled.replace(b"-----BEGIN PGP MESSAGE-----", b"Hello Bob."))
    assert served.startswith(b"X-Leap-Encryption: provider\r\n")


async def test_mail_marked_processed_before_it_was_stored(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreFull("the disk is full")

    bob.provider.deliver(BOB, mail())
    with monkeypatch.context() as patch:
        patch.setattr(bob.account, "deliver_all", full)
        with pytest.raises(StoreFull):
            await bob.incoming.process_once()
    assert bob.inbox.acked == []
    assert bob.provider.waiting(BOB) == 1
    bob.provider.expire_leases()
    await bob.incoming.process_once()
    assert len(await bob.messages()) == 1
    assert bob.provider.waiting(BOB) == 0


async def test_accounts_leaking_into_each_other(alice: Person, bob: Person) -> None:
    """Two accounts in one process, with mailboxes of the same name and mail under way in both."""
    alice.provider.deliver(ALICE, mail(BOB, ALICE, body=b"for Alice\r\n"))
    alice.provider.deliver(BOB, mail(ALICE, BOB, body=b"for Bob\r\n"))
    assert await alice.incoming.process_once() == 1
    assert await bob.messages() == []
    assert await bob.incoming.process_once() == 1
    for person, own, other in ((alice, b"for Alice", b"for Bob"), (bob, b"for Bob", b"for Alice")):
        (served,) = await person.messages()
        assert own in served
        assert other not in served


@pytest.mark.parametrize("encrypted", [False, True], ids=["in clear", "encrypted"])
async def test_bytes_of_mail_not_preserved(bob: Person, encrypted: bool) -> None:
    raw = (
        b"from:\talice@example.test\r\nTO: bob@example.test\r\nSubject:  =?utf-8?q?odd_?=\r\n  fold \r\n"
        b"X-8: \xe4\r\nMime-version: 1.0\r\ncontent-Type: MULTIPART/mixed;\r\n\tboundary = 'b' \r\n\r\n"
        b"no part\r\n--'b'\r\n\r\ntrailing  \r\n\x00\xff\r\n.\r\n--'b'--"
    )
    served = await received(bob, sealed(raw, "alice") if encrypted else raw)
    assert served.endswith(b"\r\n" + raw)


async def test_offline_start(tmp_path: Path) -> None:
    """An account is there with the provider away, what was received before can be read, and mail comes later."""
    provider = FakeProvider()
    bob = await open_person(provider, tmp_path / "bob", "bob")
    await received(bob, mail())
    await bob.close()
    provider.offline = True
    bob = await open_person(provider, tmp_path / "bob", "bob", clock=Clock(NOW + 60))
    assert len(await bob.messages()) == 1
    provider.deliver(BOB, mail(body=b"second\r\n"))
    with pytest.raises(Unreachable):
        await bob.incoming.process_once()
    provider.offline = False
    await bob.incoming.process_once()
    assert (await bob.messages())[-1].endswith(b"second\r\n")
    await bob.close()
