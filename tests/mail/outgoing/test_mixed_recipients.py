"""Some recipients have keys and some have none: what happens is what the person said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leap.keymanager.openpgp import decrypt, generate, recipients_of
from leap.mail.contract import NotPermitted
from leap.mail.incoming.signed import find_signed
from leap.mail.outbox_contract import RecipientResult, SendingRules
from leap.mail.outgoing.pgp_mime import find_ciphertext
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, own_key

ALICE, BOB, CAROL, DAVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol", "dave"))
EVE, FAY = "eve@elsewhere.test", "fay@elsewhere.test"


def publish(provider: FakeProvider, *names: str) -> None:
    for name in names:
        provider.certificates[f"{name}@{DOMAIN}"] = own_key(name).certificate.binary


async def results(person: Person) -> Sequence[RecipientResult]:
    (entry,) = await person.outgoing.entries()
    return entry.recipients_state


async def how(person: Person) -> dict[str, str]:
    return {one.address: one.how for one in await results(person)}


def key_ids(message: bytes) -> set[str]:
    ciphertext = find_ciphertext(message)
    assert ciphertext is not None
    return {one.upper() for one in recipients_of(ciphertext)}


def key_ids_of(*names: str) -> set[str]:
    return {key_id for name in names for key_id in own_key(name).certificate.key_ids}


def raw(*others: str) -> bytes:
    return mail(extra=f"Cc: {', '.join(others)}\r\n".encode())


async def test_split_encrypts_to_those_who_have_keys_and_sends_clear_text_to_the_others(
    alice: Person, bob: Person
) -> None:
    publish(alice.provider, "carol", "dave")
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    await alice.outgoing.submit(raw(CAROL, EVE), ALICE, [BOB, CAROL, DAVE, EVE, FAY])
    await alice.sender.process_due()
    sent = {recipients: message for _, _, recipients, message in alice.provider.submitted}
    assert set(sent) == {(BOB, CAROL), (DAVE,), (EVE, FAY)}
    assert find_ciphertext(sent[EVE, FAY]) is None
    assert sent[EVE, FAY].endswith(raw(CAROL, EVE))
    assert b"dave" not in sent[EVE, FAY]
    assert b"fay" not in sent[EVE, FAY]
    assert await how(alice) == {
        BOB: "encrypted",
        CAROL: "encrypted",
        DAVE: "encrypted",
        EVE: "clear",
        FAY: "clear",
    }
    assert await bob.incoming.process_once() == 1
    assert (await bob.messages())[0].endswith(raw(CAROL, EVE))


async def test_a_bcc_recipient_shows_in_no_header_and_no_key_id_of_others(
    alice: Person, bob: Person
) -> None:
    publish(alice.provider, "carol", "dave")
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    await alice.outgoing.submit(raw(CAROL, EVE), ALICE, [BOB, CAROL, DAVE, EVE])
    await alice.sender.process_due()
    by_recipients = {to: message for _, _, to, message in alice.provider.submitted}
    assert key_ids(by_recipients[BOB, CAROL]) <= key_ids_of("bob", "carol")
    assert not key_ids(by_recipients[BOB, CAROL]) & key_ids_of("dave")
    assert key_ids(by_recipients[(DAVE,)]) <= key_ids_of("dave")
    for to, message in by_recipients.items():
        assert DAVE.encode() not in message
        ciphertext = find_ciphertext(message)
        if ciphertext is not None:
            name = to[0].partition("@")[0]
            plain = decrypt(ciphertext, [own_key(name)]).plaintext
            assert DAVE.encode() not in plain


async def test_all_clear_when_the_account_says_so(alice: Person, bob: Person) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="clear"))
    await alice.outgoing.submit(raw(EVE), ALICE, [BOB, EVE])
    await alice.sender.process_due()
    ((_, _, recipients, message),) = alice.provider.submitted
    assert recipients == (BOB, EVE)
    assert message.endswith(raw(EVE))


async def test_one_message_may_ask_to_be_split_and_the_field_does_not_travel(
    alice: Person, bob: Person
) -> None:
    asked = b"X-Leap-Encrypt: split\r\n" + raw(EVE)
    await alice.outgoing.submit(asked, ALICE, [BOB, EVE])
    await alice.sender.process_due()
    assert await how(alice) == {BOB: "encrypted", EVE: "clear"}
    assert all(b"X-Leap-Encrypt" not in message for *_, message in alice.provider.submitted)


async def test_split_says_nothing_about_those_for_whom_encryption_is_required(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    await alice.keys.contacts.set_policy(EVE, "require")
    with pytest.raises(NotPermitted, match=f"required for {EVE}"):
        await alice.outgoing.submit(raw(EVE), ALICE, [BOB, EVE])


async def test_the_accounts_policy_holds_where_a_contact_has_none(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(encrypt="require"))
    with pytest.raises(NotPermitted, match="encryption is required"):
        await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.keys.contacts.set_policy(EVE, "prefer")
    await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.outgoing.set_sending_rules(SendingRules(encrypt="never"))
    await alice.outgoing.submit(mail(to=BOB), ALICE, [BOB])
    await alice.sender.process_due()
    assert [find_ciphertext(message) for *_, message in alice.provider.submitted] == [None, None]


async def test_who_was_to_get_it_encrypted_never_gets_the_clear_half(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    await alice.outgoing.submit(raw(EVE), ALICE, [BOB, EVE])
    await alice.keys.contacts.set_policy(BOB, "never")
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    assert {one.state for one in await results(alice)} == {"failed"}
    assert b"it was to be encrypted" in (await alice.messages())[0]


async def test_who_gets_a_key_while_the_mail_waits_gets_it_encrypted_and_the_others_as_before(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    await alice.outgoing.submit(raw(CAROL, EVE), ALICE, [BOB, CAROL, EVE])
    alice.provider.replies = dict.fromkeys((BOB, CAROL, EVE), (450, "4.2.0 later"))
    await alice.sender.process_due()
    first = {to: submission for submission, _, to, _ in alice.provider.submitted}
    assert set(first) == {(BOB,), (CAROL, EVE)}
    alice.provider.submitted.clear()
    alice.provider.replies.clear()
    publish(alice.provider, "carol")
    alice.clock.time += 3600
    await alice.outgoing.retry(None)
    await alice.sender.process_due()
    second = {to: (submission, m) for submission, _, to, m in alice.provider.submitted}
    assert set(second) == {(BOB,), (CAROL,), (EVE,)}
    assert find_ciphertext(second[(CAROL,)][1]) is not None
    assert find_ciphertext(second[(EVE,)][1]) is None
    # Under the ids of before: whoever got the first one after all gets no second.
    assert second[(CAROL,)][0] == second[(EVE,)][0] == first[CAROL, EVE]
    assert await how(alice) == {BOB: "encrypted", CAROL: "encrypted", EVE: "clear"}


async def test_an_expired_key_of_one_stops_a_split_mail_with_the_reason(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    expired = generate(CAROL, now=lambda: NOW - 20 * 86400, lifetime=86400)
    alice.provider.certificates[CAROL] = expired.certificate.binary
    with pytest.raises(NotPermitted, match=rf"the key of {CAROL} expired on \d+ September 2026"):
        await alice.outgoing.submit(raw(CAROL, EVE), ALICE, [BOB, CAROL, EVE])


# -- signatures of clear mail


async def test_clear_mail_is_signed_where_the_account_says_so_and_bob_sees_whose_it_is(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(encrypt="never", sign=True))
    text = b"Gr\xc3\xbc\xc3\x9fe  \r\nFrom here\r\n"
    kind = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    await alice.outgoing.submit(mail(extra=kind, body=text), ALICE, [BOB, EVE])
    await alice.sender.process_due()
    ((_, _, _, message),) = alice.provider.submitted
    assert message.isascii()
    assert find_signed(message) is not None
    assert await how(alice) == {BOB: "signed", EVE: "signed"}
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.startswith(b"X-Leap-Encryption: provider\r\nX-Leap-Signature: valid; ")
    assert served.count(b"Message-ID: <plan@example.test>") == 2


async def test_a_contact_and_a_message_may_say_otherwise_about_signing(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(sign=True))
    await alice.keys.contacts.set_signing(EVE, "off")
    await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.outgoing.submit(mail(to=FAY), ALICE, [FAY])
    await alice.outgoing.submit(b"X-Leap-Sign: no\r\n" + mail(to=FAY, body=b"2"), ALICE, [FAY])
    await alice.outgoing.submit(b"X-Leap-Sign: yes\r\n" + mail(to=EVE, body=b"2"), ALICE, [EVE])
    await alice.sender.process_due()
    signed = [find_signed(message) is not None for *_, message in alice.provider.submitted]
    assert signed == [False, True, False, True]
    assert all(b"X-Leap" not in message for *_, message in alice.provider.submitted)


async def test_what_cannot_be_signed_is_refused_at_once_with_the_way_out(alice: Person) -> None:
    inner = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n',
        b'--b\r\nContent-Type: multipart/signed; boundary=c; protocol="application/pgp-signature"'
        b"\r\n\r\n--c\r\n\r\n\xc3\xbc\r\n--c\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n"
        b"--c--\r\n--b--\r\n",
    )
    unsafe = mail(to=EVE, extra=inner[0], body=inner[1])
    await alice.outgoing.set_sending_rules(SendingRules(sign=True))
    with pytest.raises(NotPermitted, match="X-Leap-Sign: no"):
        await alice.outgoing.submit(unsafe, ALICE, [EVE])
    await alice.outgoing.submit(b"X-Leap-Sign: no\r\n" + unsafe, ALICE, [EVE])


async def test_what_the_mail_program_signed_leaves_as_it_was_written(alice: Person) -> None:
    kind = (
        b'Content-Type: multipart/signed; micalg=pgp-sha512; protocol="application/pgp-signature";'
        b' boundary="b"\r\nUser-Agent: Program\r\n'
    )
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nhi \r\n--b\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n--b--\r\n"
    )
    await alice.outgoing.set_sending_rules(SendingRules(sign=True))
    written = mail(to=EVE, extra=kind, body=body)
    await alice.outgoing.submit(written, ALICE, [EVE])
    await alice.sender.process_due()
    ((_, _, _, message),) = alice.provider.submitted
    assert message == written
    assert await how(alice) == {EVE: "signed"}


# -- tags in the subject


async def test_a_tag_in_the_subject_is_obeyed_and_taken_off_where_the_account_says_so(
    alice: Person, bob: Person
) -> None:
    tagged = mail().replace(b"Subject: The", b"Subject: [clear] The")
    await alice.outgoing.submit(tagged, ALICE, [BOB])
    await alice.outgoing.set_sending_rules(SendingRules(subject_tags=True))
    await alice.outgoing.submit(tagged, ALICE, [BOB])
    await alice.sender.process_due()
    encrypted, clear = (message for *_, message in alice.provider.submitted)
    assert find_ciphertext(encrypted) is not None
    assert clear.endswith(mail())
    with pytest.raises(NotPermitted, match="encryption is required"):
        await alice.outgoing.submit(
            mail(to=EVE).replace(b"Subject: The", b"Subject: [encrypt] The"), ALICE, [EVE]
        )


async def test_a_tag_in_the_subject_of_another_does_not_make_the_answer_leave_readable(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(subject_tags=True))
    asked = mail(extra=b"In-Reply-To: <plan@eve.test>\r\n")
    with pytest.raises(NotPermitted, match="the tag in its subject"):
        await alice.outgoing.submit(
            asked.replace(b"secret plan", b"secret plan [clear]"), ALICE, [BOB]
        )
    assert await alice.outgoing.entries() == []


async def test_a_mistyped_wish_is_refused_and_does_not_leave_readable(alice: Person) -> None:
    with pytest.raises(NotPermitted, match="require, split or never"):
        await alice.outgoing.submit(
            mail(to=EVE, extra=b"X-Leap-Encrypt: required\r\n"), ALICE, [EVE]
        )


async def answered(alice: Person, bob: Person) -> None:
    """Bob has got an encrypted mail of alice."""
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    await bob.incoming.process_once()


# -- answers to encrypted mail

ANSWER = b"In-Reply-To: <plan@example.test>\r\nReferences: <older@x> <plan@example.test>\r\n"


def answer(to: str) -> bytes:
    written = mail(sender=BOB, to=to, extra=ANSWER, body=b"> Hello Bob.\r\nYes.\r\n")
    return written.replace(b"<plan@example.test>", b"<answer@example.test>", 1)


async def test_an_answer_to_encrypted_mail_does_not_leave_in_clear(
    alice: Person, bob: Person
) -> None:
    await answered(alice, bob)
    with pytest.raises(NotPermitted, match="answers a mail that came encrypted") as refusal:
        await bob.outgoing.submit(answer(EVE), BOB, [EVE])
    assert "X-Leap-Encrypt: never" in str(refusal.value)
    await bob.outgoing.submit(answer(ALICE), BOB, [ALICE])


async def test_a_split_answer_to_encrypted_mail_is_refused_as_well(
    alice: Person, bob: Person
) -> None:
    await answered(alice, bob)
    await bob.outgoing.set_sending_rules(SendingRules(mixed="split"))
    with pytest.raises(NotPermitted, match=f"in clear to {EVE}"):
        await bob.outgoing.submit(answer(ALICE), BOB, [ALICE, EVE])


async def test_the_person_may_say_that_such_an_answer_goes(alice: Person, bob: Person) -> None:
    await answered(alice, bob)
    await bob.outgoing.submit(b"X-Leap-Encrypt: never\r\n" + answer(EVE), BOB, [EVE])
    await bob.outgoing.set_sending_rules(SendingRules(replies="allow"))
    await bob.outgoing.submit(answer(EVE), BOB, [EVE])


async def test_an_answer_to_clear_mail_goes_as_before(alice: Person, bob: Person) -> None:
    bob.provider.deliver(BOB, mail(sender=EVE, to=BOB))
    await bob.incoming.process_once()
    await bob.outgoing.submit(answer(EVE), BOB, [EVE])


async def test_an_answer_to_ones_own_encrypted_mail_does_not_leave_in_clear(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    written = mail(to=EVE, extra=ANSWER).replace(b"<plan@", b"<more@", 1)
    with pytest.raises(NotPermitted, match="answers a mail that came encrypted"):
        await alice.outgoing.submit(written, ALICE, [EVE])
