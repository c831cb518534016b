"""From a submitted mail to the provider: policy, the durable outbox, the worker, reports."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from leap.keymanager.openpgp import decrypt, generate, recipients_of
from leap.mail.contract import NotPermitted, StorageFull, TooLarge
from leap.mail.outgoing.copies import TOGETHER
from leap.mail.outgoing.field_lines import split_header
from leap.mail.outgoing.outbox import EXPIRY
from leap.mail.outgoing.pgp_mime import find_ciphertext
from leap.soledad.errors import StoreFull
from leap.soledad.transaction import Transaction
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, open_person, own_key

ALICE, BOB, CAROL, DAVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol", "dave"))


def publish(provider: FakeProvider, name: str) -> None:
    key = own_key(name)
    provider.certificates[f"{name}@{DOMAIN}"] = key.certificate.binary


async def states(person: Person) -> list[tuple[str, str]]:
    return [
        (entry.state, words)
        for entry in await person.outgoing.entries()
        for _, words in entry.results
    ]


async def test_a_mail_leaves_encrypted_and_signed_and_bob_reads_what_alice_wrote(
    alice: Person, bob: Person
) -> None:
    raw = mail(extra=b"X-Odd:   two  spaces\r\n", body=b"Hello\r\n\r\n  Bob\xff\r\n")
    await alice.outgoing.submit(raw, ALICE, [BOB])
    await alice.sender.process_due()
    assert await states(alice) == [("sent", "sent: 250 2.0.0 Accepted")]
    ((_, sender, recipients, message),) = alice.provider.submitted
    assert (sender, recipients) == (ALICE, (BOB,))
    assert b"Hello" not in message
    assert b"secret plan" not in message
    assert await bob.incoming.process_once() == 1
    (served,) = await bob.messages()
    fingerprint = own_key("alice").fingerprint
    created = int(NOW)
    assert served == (
        b"X-Leap-Encryption: decrypted\r\n"
        + f"X-Leap-Signature: valid; fingerprint={fingerprint}; signer={ALICE}; "
        f"created={created}\r\n".encode()
        + f"Return-Path: <{ALICE}>\r\nReceived: by {DOMAIN}; now\r\n".encode()
        + raw
    )


async def test_nothing_is_accepted_for_another_sender(alice: Person) -> None:
    for sender in (BOB, "alice@elsewhere.test", "", "alice+x@elsewhere.test"):
        with pytest.raises(NotPermitted, match=ALICE):
            await alice.outgoing.submit(mail(), sender, [BOB])
    assert await alice.outgoing.entries() == []


@pytest.mark.parametrize(
    "from_field",
    [
        b"From: bob@example.test\r\n",
        b"From: alice@example.test, bob@example.test\r\n",
        b"From: alice@example.test\r\nFrom: bob@example.test\r\n",
        b"From: alice@example.test <bob@example.test>\r\n",
        b"From: undisclosed:;\r\n",
        b"From:\r\n",
        b"",
        b"From: alice@example.test bob@example.test\r\n",
        b"\xff\x00From: bob@example.test\r\nFrom: alice@example.test\r\n",
    ],
)
async def test_a_from_that_is_not_the_accounts_is_refused_with_its_address(
    alice: Person, from_field: bytes
) -> None:
    with pytest.raises(NotPermitted, match=ALICE):
        await alice.outgoing.submit(from_field + b"To: x@y\r\n\r\nhi\r\n", ALICE, [BOB])


async def test_own_tags_and_other_cases_are_accepted(alice: Person, bob: Person) -> None:
    raw = b"From: Alice <Alice+news@Example.TEST>\r\nTo: bob@example.test\r\n\r\nhi\r\n"
    await alice.outgoing.submit(raw, "Alice+News@example.test", [BOB])
    await alice.sender.process_due()
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert b"X-Leap-Signature: valid" in served


async def test_the_first_submission_without_any_key_goes_in_clear_by_default(
    alice: Person,
) -> None:
    raw = mail(to="eve@elsewhere.test")
    await alice.outgoing.submit(raw, ALICE, ["eve@elsewhere.test"])
    await alice.sender.process_due()
    message = alice.provider.submitted[0][3]
    assert message.endswith(raw)
    assert message.startswith(
        b"Autocrypt: addr=alice@example.test; prefer-encrypt=mutual; keydata=\r\n "
    )
    assert [name for name, _ in split_header(message[: -len(raw)])[0]] == ["autocrypt"]


async def test_without_id_and_date_a_clear_mail_gets_both_in_front(alice: Person) -> None:
    raw = b"From: alice@example.test\r\n\r\nhi\r\n"
    await alice.outgoing.submit(raw, ALICE, ["eve@elsewhere.test"])
    await alice.sender.process_due()
    message = alice.provider.submitted[0][3]
    assert message.endswith(raw)
    assert message.startswith(b"Message-ID: <")
    assert b"\r\nDate: " in message[: -len(raw)]


async def test_bcc_leaves_clear_mail_too(alice: Person) -> None:
    raw = mail(to="eve@elsewhere.test", extra=b"Bcc: dave@elsewhere.test\r\n")
    await alice.outgoing.submit(raw, ALICE, ["eve@elsewhere.test", "dave@elsewhere.test"])
    await alice.sender.process_due()
    ((_, _, recipients, message),) = alice.provider.submitted
    assert b"dave" not in message
    assert set(recipients) == {"eve@elsewhere.test", "dave@elsewhere.test"}


async def test_encryption_required_refuses_who_has_no_key(alice: Person) -> None:
    raw = mail(extra=b"X-Leap-Encrypt: require\r\n")
    with pytest.raises(NotPermitted, match=r"no key was found for bob@example\.test"):
        await alice.outgoing.submit(raw, ALICE, [BOB])


async def test_never_mixed(alice: Person, bob: Person) -> None:
    with pytest.raises(NotPermitted, match=r"no key was found for eve@elsewhere\.test"):
        await alice.outgoing.submit(mail(), ALICE, [BOB, "eve@elsewhere.test"])
    assert await alice.outgoing.entries() == []


async def test_a_failed_look_up_is_accepted_and_never_becomes_clear(
    alice: Person, bob: Person
) -> None:
    alice.provider.lookup_fails = True
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    ((state, words),) = await states(alice)
    assert state == "queued"
    assert "could not be looked up" in words
    alice.provider.lookup_fails = False
    alice.clock.time += 10
    await alice.sender.process_due()
    assert b"multipart/encrypted" in alice.provider.submitted[0][3]


async def test_a_look_up_that_hangs_does_not_hold_up_the_mail_program(alice: Person) -> None:
    async def hang(address: str) -> bytes | None:
        await asyncio.Event().wait()
        return None

    alice.provider.find_certificate = hang  # type: ignore[method-assign]
    from leap.mail.outgoing.recipient_keys import look_up

    (looked,) = await look_up(alice.keys, [BOB], own_domain=DOMAIN, now=NOW, seconds=0.02)
    assert "too long" in looked.state.reason  # type: ignore[union-attr]


async def test_what_was_to_be_encrypted_is_never_sent_clear_when_keys_vanish(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])

    async def none(address: str) -> None:
        return None

    monkeypatch.setattr(alice.keys, "find_certificate", none)
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    assert (await states(alice))[0][0] == "failed"
    (report,) = await alice.messages()
    assert b"it was to be encrypted" in report


async def test_an_expired_key_stops_the_mail_with_the_reason(alice: Person) -> None:
    day = 86400
    old = generate(BOB, now=lambda: NOW - 30 * day, lifetime=10 * day)
    alice.provider.certificates[BOB] = old.certificate.binary
    with pytest.raises(
        NotPermitted, match=r"the key of bob@example\.test expired on 1 September 2026"
    ):
        await alice.outgoing.submit(mail(), ALICE, [BOB])


async def test_a_key_that_expires_while_the_mail_waits_makes_a_report(alice: Person) -> None:
    key = generate(BOB, now=lambda: NOW - 1000, lifetime=2000)
    alice.provider.certificates[BOB] = key.certificate.binary
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    alice.clock.time += 5000
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    (report,) = await alice.messages()
    assert b"expired on 21 September 2026" in report


async def test_bcc_recipients_get_their_own_copy_with_their_own_key_id(
    alice: Person, bob: Person
) -> None:
    publish(alice.provider, "carol")
    publish(alice.provider, "dave")
    raw = mail(extra=f"Cc: {CAROL}\r\nBcc: {DAVE}\r\n".encode())
    await alice.outgoing.submit(raw, ALICE, [BOB, CAROL, DAVE])
    await alice.sender.process_due()
    by_recipients = {recipients: message for _, _, recipients, message in alice.provider.submitted}
    assert set(by_recipients) == {(BOB, CAROL), (DAVE,)}
    ids = {r: recipients_of(find_ciphertext(m) or b"") for r, m in by_recipients.items()}
    dave_ids = set(own_key("dave").certificate.key_ids)
    assert len(ids[(BOB, CAROL)]) == 2
    assert not dave_ids & set(ids[(BOB, CAROL)])
    assert set(ids[(DAVE,)]) <= dave_ids
    for message in by_recipients.values():
        assert b"dave" not in message
        assert b"<plan@example.test>" in message
    opened = decrypt(find_ciphertext(by_recipients[(DAVE,)]) or b"", [own_key("dave")]).plaintext
    assert b"dave" not in opened


async def test_a_mail_to_very_many_goes_in_copies_that_every_reader_takes(alice: Person) -> None:
    names = [f"u{number}" for number in range(2 * TOGETHER + 1)]
    for name in names:
        publish(alice.provider, name)
    addresses = [f"{name}@{DOMAIN}" for name in names]
    raw = mail(to=addresses[0], extra=f"Cc: {', '.join(addresses[1:])}\r\n".encode())
    await alice.outgoing.submit(raw, ALICE, addresses)
    await alice.sender.process_due()
    sizes = []
    for _, _, recipients, message in alice.provider.submitted:
        ciphertext = find_ciphertext(message) or b""
        sizes.append((len(recipients), len(recipients_of(ciphertext))))
        own = own_key(recipients[-1].partition("@")[0])
        assert b"secret plan" in decrypt(ciphertext, [own]).plaintext
    assert sorted(sizes) == [(1, 1), (TOGETHER, TOGETHER), (TOGETHER, TOGETHER)]
    assert sorted(one for _, _, to, _ in alice.provider.submitted for one in to) == sorted(
        addresses
    )


async def test_a_mail_that_waits_survives_and_is_sent_after_a_restart(
    provider: FakeProvider, bob: Person, tmp_path: Path
) -> None:
    alice = await open_person(provider, tmp_path / "alice", "alice")
    provider.offline = True
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.close()
    provider.offline = False
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await alice.sender.process_due()
    assert [recipients for _, _, recipients, _ in provider.submitted] == [(BOB,)]
    await alice.close()


async def test_a_crash_after_submission_sends_the_same_bytes_under_the_same_id(
    provider: FakeProvider, bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await alice.outgoing.submit(mail(), ALICE, [BOB])

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(alice.outgoing.outbox, "note_results", crash)
    with pytest.raises(KeyboardInterrupt):
        await alice.sender.process_due()
    await alice.close()
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await alice.sender.process_due()
    first, second = provider.submitted
    assert first == second
    assert provider.waiting(BOB) == 1
    assert (await states(alice))[0][0] == "sent"
    await alice.close()


async def test_a_crash_before_copies_are_kept_leaves_nothing_sent(
    provider: FakeProvider, bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await alice.outgoing.submit(mail(), ALICE, [BOB])

    async def crash(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(alice.outgoing.outbox, "keep_copies", crash)
    with pytest.raises(KeyboardInterrupt):
        await alice.sender.process_due()
    assert provider.submitted == []
    await alice.close()
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await alice.sender.process_due()
    assert len(provider.submitted) == 1
    await alice.close()


async def test_recipients_are_settled_one_by_one(alice: Person) -> None:
    alice.provider.replies = {
        "a@x.test": (250, "ok"),
        "b@x.test": (550, "5.1.1 No such user"),
        "c@x.test": (451, "4.3.0 Later"),
    }
    await alice.outgoing.submit(mail(), ALICE, ["a@x.test", "b@x.test", "c@x.test"])
    await alice.sender.process_due()
    (entry,) = await alice.outgoing.entries()
    assert entry.state == "sending"
    assert dict(entry.results) == {
        "a@x.test": "sent: 250 ok",
        "b@x.test": "failed: 550 5.1.1 No such user",
        "c@x.test": "4.3.0 Later",
    }
    assert entry.next_attempt == int(NOW + 5)
    alice.provider.replies["c@x.test"] = (250, "ok")
    alice.clock.time += 6
    await alice.sender.process_due()
    assert alice.provider.submitted[1][2] == ("c@x.test",)
    assert alice.provider.submitted[1][0] == alice.provider.submitted[0][0]
    (entry,) = await alice.outgoing.entries()
    assert entry.state == "failed"
    (report,) = await alice.messages()
    assert b"Content-Type: multipart/report; report-type=delivery-status;" in report
    assert b"Final-Recipient: rfc822; b@x.test\r\n" in report
    assert b"Status: 5.1.1\r\n" in report
    assert b"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n" in report
    assert b"Subject: The secret plan\r\n" in report
    assert b"Hello Bob" not in report
    assert b"Final-Recipient: rfc822; a@x.test" not in report


async def test_back_off_grows_and_after_five_days_there_is_one_report(alice: Person) -> None:
    alice.provider.offline = True
    alice.provider.lookup_fails = False
    await alice.outgoing.submit(mail(extra=b"X-Leap-Encrypt: never\r\n"), ALICE, ["x@x.test"])
    delays = []
    while alice.clock.time < NOW + EXPIRY + 7200:
        await alice.sender.process_due()
        (entry,) = await alice.outgoing.entries()
        if entry.state == "failed":
            break
        delays.append(entry.next_attempt - alice.clock.time)
        alice.clock.time = entry.next_attempt + 1
    assert delays[:4] == [5, 10, 20, 40]
    assert max(delays) <= 3600
    assert alice.provider.submitted == []
    (report,) = await alice.messages()
    assert b"Not delivered in time: The provider cannot be reached." in report
    await alice.sender.process_due()
    assert len(await alice.messages()) == 1


async def test_a_report_is_delivered_once_whatever_happens_then(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await open_person(provider, tmp_path / "alice", "alice")
    provider.replies = {"x@x.test": (550, "no")}
    await alice.outgoing.submit(mail(), ALICE, ["x@x.test"])

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(alice.outgoing.outbox, "finish", crash)
    with pytest.raises(KeyboardInterrupt):
        await alice.sender.process_due()
    await alice.close()
    alice = await open_person(provider, tmp_path / "alice", "alice")
    alice.clock.time += 100
    await alice.sender.process_due()
    assert len(await alice.messages()) == 1
    assert (await alice.outgoing.entries())[0].state == "failed"
    assert len(provider.submitted) == 1
    await alice.close()


async def test_a_hostile_server_reply_cannot_add_header_fields(alice: Person) -> None:
    alice.provider.replies = {"x@x.test": (550, "no\r\nX-Leap-Signature: valid\r\n\r\nbody")}
    await alice.outgoing.submit(mail(), ALICE, ["x@x.test"])
    await alice.sender.process_due()
    (report,) = await alice.messages()
    assert b"\nX-Leap" not in report


def signal(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set whenever the method was called and returned."""
    event = asyncio.Event()
    method = getattr(owner, name)

    async def watched(*args: object, **kwargs: object) -> object:
        result = await method(*args, **kwargs)
        event.set()
        return result

    monkeypatch.setattr(owner, name, watched)
    return event


async def test_the_worker_sends_at_once_and_what_waits_when_online_again(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = signal(alice.provider, "submit", monkeypatch)
    postponed = signal(alice.outgoing.outbox, "postpone", monkeypatch)
    worker = asyncio.create_task(alice.sender.run())
    async with asyncio.timeout(10):
        await alice.outgoing.submit(mail(), ALICE, [BOB])
        await sent.wait()
        sent.clear()
        alice.provider.offline = True
        await alice.outgoing.submit(mail(body=b"another\r\n"), ALICE, [BOB])
        await postponed.wait()
        alice.provider.offline = False
        await alice.sender.came_online()
        await sent.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert alice.provider.waiting(BOB) == 2


async def test_one_bad_entry_delays_no_other(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = alice.provider.submit

    async def sometimes(submission_id, sender, recipients, message, wishes):  # type: ignore[no-untyped-def]
        if "poison@x.test" in recipients:
            raise RuntimeError("a fault of ours")
        return await submit(submission_id, sender, recipients, message, wishes)

    monkeypatch.setattr(alice.provider, "submit", sometimes)
    postponed = signal(alice.outgoing.outbox, "postpone", monkeypatch)
    finished = signal(alice.outgoing.outbox, "finish", monkeypatch)
    await alice.outgoing.submit(mail(), ALICE, ["poison@x.test"])
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    worker = asyncio.create_task(alice.sender.run())
    async with asyncio.timeout(10):
        await postponed.wait()
        await finished.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert {e.recipients: e.state for e in await alice.outgoing.entries()} == {
        ("poison@x.test",): "sending",
        (BOB,): "sent",
    }


async def test_a_provisional_device_sends_nothing(alice: Person, bob: Person) -> None:
    alice.sender._may_send = lambda: False
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert alice.provider.submitted == []


async def test_limits_have_sentences(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge, match="50 MiB"):
        await alice.outgoing.submit(b"x" * (50 * 1024 * 1024 + 1), ALICE, [BOB])
    with pytest.raises(NotPermitted, match="no recipients"):
        await alice.outgoing.submit(mail(), ALICE, [])

    async def full(*_: object, **__: object) -> None:
        raise StoreFull("the disk is full")

    monkeypatch.setattr(alice.store, "transact", full)
    with pytest.raises(StorageFull, match="not accepted"):
        await alice.outgoing.submit(mail(), ALICE, ["x@x.test"])


async def test_the_outbox_keeps_no_text_after_the_end(alice: Person, bob: Person) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    counts = await alice.store.read(
        lambda c: [
            c.execute("SELECT count(*) FROM outbox_message").fetchone()[0],
            c.execute("SELECT count(*) FROM outbox_copy").fetchone()[0],
            c.execute("SELECT count(*) FROM outbox").fetchone()[0],
        ]
    )
    assert counts == [0, 0, 1]


async def test_a_submission_repeated_after_a_lost_reply_is_one_mail(
    alice: Person, bob: Person
) -> None:
    raw = mail(body=b"once\r\n")
    first = await alice.outgoing.submit(raw, ALICE, [BOB])
    await alice.sender.process_due()
    assert await alice.outgoing.submit(raw, ALICE, [BOB]) == first
    assert await alice.outgoing.submit(raw + b"more\r\n", ALICE, [BOB]) != first
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 2


async def test_mails_without_an_id_of_their_own_are_never_taken_for_one(
    alice: Person, bob: Person
) -> None:
    raw = b"From: alice@example.test\r\n\r\nhi\r\n"
    first = await alice.outgoing.submit(raw, ALICE, [BOB])
    assert await alice.outgoing.submit(raw, ALICE, [BOB]) != first


# The table as homes have it in which mail was sent before a repeated submission was recognised.
_COPIES_OF_BEFORE = """CREATE TABLE outbox_copy (
    submission_id TEXT PRIMARY KEY, outbox_id TEXT NOT NULL, message BLOB NOT NULL
) STRICT"""

_OUTBOX_OF_BEFORE = """CREATE TABLE outbox (
    outbox_id TEXT PRIMARY KEY, sender TEXT NOT NULL, subject TEXT NOT NULL, size INTEGER NOT NULL,
    protection TEXT NOT NULL, policy TEXT NOT NULL, added TEXT NOT NULL, message_id TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, next_attempt REAL NOT NULL, created REAL NOT NULL,
    expires REAL NOT NULL, ended REAL, reason TEXT NOT NULL
) STRICT"""


async def test_an_outbox_of_the_former_form_takes_mail_and_keeps_what_it_has(
    alice: Person, bob: Person
) -> None:
    def former(tx: Transaction) -> None:
        tx.connection.execute(_OUTBOX_OF_BEFORE)
        tx.connection.execute(_COPIES_OF_BEFORE)
        tx.connection.execute(
            "INSERT INTO outbox VALUES ('old', ?, 'Of before', 10, 'open', '', '[]', '<1@x>',"
            " 'sent', 1, 0, ?, ?, ?, '')",
            (ALICE, NOW - 10, NOW + EXPIRY, NOW - 5),
        )

    await alice.store.transact(former)
    first = await alice.outgoing.submit(mail(), ALICE, [BOB])
    assert await alice.outgoing.submit(mail(), ALICE, [BOB]) == first
    assert [one.outbox_id for one in await alice.outgoing.entries()] == [first, "old"]
    await alice.sender.process_due()
    assert await bob.incoming.process_once() == 1
