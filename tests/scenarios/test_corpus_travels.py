"""Real mail of every shape travels from alice's SMTP to bob's IMAP, and from outside to bob, byte for byte."""

from __future__ import annotations

import smtplib
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.scenarios.corpus_mail import Selection, Travelling, difference, select
from tests.scenarios.world import Device, World, append, world

SIGNED_TEXT = b"-----BEGIN PGP SIGNED MESSAGE-----"
BY_ALICE, FROM_OUTSIDE, MAX_EXCLUDED = 200, 50, 10


@pytest.fixture(scope="module")
def travelled(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Device, Selection, Selection, dict[int, bytes], dict[int, bytes]]]:
    """All mails have travelled: (world, device, alice's, the stranger's, bob's INBOX, bob's Appended)."""
    with world(tmp_path_factory.mktemp("corpus")) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        ours = select(corpus, BY_ALICE, "alice@example.test", "from alice")
        theirs = select(corpus, FROM_OUTSIDE + 40, "stranger@elsewhere.test", "from outside")
        theirs.mails = [mail for mail in theirs.mails if not mail.by_append][:FROM_OUTSIDE]
        by_smtp = [mail for mail in ours.mails if not mail.by_append]
        with device.smtp("alice") as smtp:
            for mail in by_smtp:
                smtp.sendmail(
                    "alice@example.test", ["bob@example.test"], mail.raw, ["BODY=8BITMIME"]
                )
        with device.imap("bob") as imap:
            imap.create("Appended")
            for mail in ours.mails:
                if mail.by_append:
                    typ, answer = append(imap, "Appended", mail.raw)
                    assert typ == "OK", (mail.name, answer)
        host, port = made.provider.said["mx"]
        with smtplib.SMTP(host, port, timeout=60) as smtp:
            for mail in theirs.mails:
                smtp.sendmail(
                    "stranger@elsewhere.test", ["bob@example.test"], mail.raw, ["BODY=8BITMIME"]
                )
        inbox = device.wait_for("bob", len(by_smtp) + len(theirs.mails), timeout=180)
        yield made, device, ours, theirs, inbox, device.messages("bob", "Appended")


def _found(mail: Travelling, messages: dict[int, bytes]) -> list[bytes]:
    return [raw for raw in messages.values() if b"X-Corpus-Marker: " + mail.marker in raw]


def test_two_hundred_mails_come_back_as_alice_submitted_them(travelled) -> None:  # type: ignore[no-untyped-def]
    _, _, ours, _, inbox, appended = travelled
    wrong = {}
    for mail in ours.mails:
        found = _found(mail, appended if mail.by_append else inbox)
        if len(found) != 1:
            wrong[mail.name] = f"there {len(found)} times"
        elif mail.by_append:
            if found[0] != mail.raw:
                wrong[mail.name] = "appended bytes differ"
        elif SIGNED_TEXT in mail.raw:
            # served without the armor, which is not signed (docs/security-status.md); what came is the original
            if SIGNED_TEXT in found[0] and difference(mail.raw, found[0]):
                wrong[mail.name] = "signed text is neither as it came nor without its armor"
        elif why := difference(mail.raw, found[0]):
            wrong[mail.name] = why
    appended_count = sum(mail.by_append for mail in ours.mails)
    untouched = sum(mail.encrypted_already for mail in ours.mails)
    print(f"{len(ours.mails)} mails, {appended_count} by APPEND, {untouched} encrypted already")
    print(f"excluded: {ours.excluded}")
    assert len(ours.mails) == BY_ALICE
    assert len(ours.excluded) <= MAX_EXCLUDED
    assert wrong == {}


def test_what_alice_sent_was_encrypted_and_signed(travelled) -> None:  # type: ignore[no-untyped-def]
    _, _, ours, _, inbox, _ = travelled
    for mail in ours.mails:
        if mail.by_append:
            continue
        served = _found(mail, inbox)[0]
        header = served.partition(b"\r\n\r\n")[0]
        if mail.encrypted_already:
            assert b"X-Leap-Encryption: decrypted" not in header, mail.name
        else:
            assert header.startswith(b"X-Leap-Encryption: decrypted"), mail.name
            assert b"X-Leap-Signature: valid" in header, mail.name


def test_fifty_mails_from_outside_come_out_byte_for_byte(travelled) -> None:  # type: ignore[no-untyped-def]
    _, _, _, theirs, inbox, _ = travelled
    wrong = {}
    for mail in theirs.mails:
        found = _found(mail, inbox)
        if len(found) != 1:
            wrong[mail.name] = f"there {len(found)} times"
        elif not found[0].endswith(mail.raw):
            wrong[mail.name] = difference(mail.raw, found[0]) or "not the same to the octet"
        elif b"X-Leap-Signature: valid" in found[0].partition(b"\r\n\r\n")[0]:
            wrong[mail.name] = "a stranger's clear mail shows as signed"
    assert len(theirs.mails) == FROM_OUTSIDE
    assert wrong == {}


def test_no_disk_holds_a_word_of_them(travelled) -> None:  # type: ignore[no-untyped-def]
    made, _, ours, theirs, _, _ = travelled
    markers = [mail.marker for mail in (*ours.mails, *theirs.mails)]
    searched = 0
    for path in made.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            searched += len(data)
            for text in (data, *_inflated(data)):
                assert not any(marker in text for marker in markers), path
                assert b"X-Corpus-Marker" not in text, path
    assert searched > 1_000_000


def _inflated(data: bytes) -> Iterator[bytes]:
    """Whatever in the file looks like a zlib, gzip or zstd stream, unpacked."""
    for magic, bits in ((b"\x78\x01", 15), (b"\x78\x9c", 15), (b"\x78\xda", 15), (b"\x1f\x8b", 31)):
        position = data.find(magic)
        while position >= 0:
            try:
                yield zlib.decompressobj(bits).decompress(
                    data[position : position + 1_000_000], 1_000_000
                )
            except zlib.error:
                pass  # random bytes that only looked like a stream
            position = data.find(magic, position + 1)
    position = data.find(b"\x28\xb5\x2f\xfd")
    while position >= 0:
        try:
            yield (
                zstandard.ZstdDecompressor()
                .decompressobj()
                .decompress(data[position : position + 1_000_000])
            )
        except zstandard.ZstdError:
            pass  # likewise
        position = data.find(b"\x28\xb5\x2f\xfd", position + 1)
