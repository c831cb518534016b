"""What a mail says of keys, drawn out of it: from where, for whom, how much, and at what price."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.autocrypt.header import header_value
from leap.keymanager.mail_material import (
    MAX_ATTACHED,
    MAX_ATTACHED_OCTETS,
    SIGNATURE_GOOD,
    KeyMaterial,
)
from leap.keymanager.openpgp import encrypt
from leap.mail.contract import SecurityStatus, SignatureVerdict
from leap.mail.incoming.key_material import _empty_line, find_key_material
from leap.mail.incoming.opening import Opened
from leap.mail.message.header_lines import empty_line
from leap.mail.model import header_record
from leap.mail.outgoing.header_protection import fold, protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.test_opening import Ring
from tests.mail.travel import DOMAIN, NOW, mail, own_key

ALICE, BOB, CAROL = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol"))
OUTER = [("From", ALICE), ("To", f"{BOB}, {CAROL}"), ("Subject", "[...]")]


def value(name: str) -> bytes:
    text = header_value(f"{name}@{DOMAIN}", own_key(name).certificate.binary)
    assert text is not None
    return text.encode()


def field(name: str, of: str) -> bytes:
    return fold(f"{name}: {value(of).decode()}")


def plain(raw: bytes, *states: str) -> KeyMaterial | None:
    signatures = tuple(SignatureVerdict(state=state) for state in states)  # type: ignore[arg-type]
    status = SecurityStatus(encryption="provider", signatures=signatures)
    return find_key_material(raw, Opened(raw, status, None), header_record(raw, status))


async def opened(
    payload: bytes, *, signer: str | None = "alice", before: bytes = b""
) -> KeyMaterial:
    key = own_key(signer) if signer else None
    armored = encrypt(payload, [own_key("bob").certificate], key, now=lambda: NOW)
    raw = before + wrap(OUTER, None, armored, "=_b")
    one = await open_with_look_ups(raw, Ring([own_key("bob")], [own_key("alice").certificate]))
    assert one.security.encryption == "end-to-end"
    found = find_key_material(raw, one, header_record(one.served, one.security))
    assert found is not None
    assert pickle.loads(pickle.dumps(found)) == found
    return found


def test_a_mail_without_keys_tells_who_wrote_when() -> None:
    assert plain(mail()) == KeyMaterial(ALICE, date=1_789_984_800)
    undated = mail().replace(b"Date:", b"X-Date:")
    assert plain(undated) == KeyMaterial(ALICE)


@pytest.mark.parametrize(
    "sender",
    [
        b"",
        b"From: Alice\r\n",
        b"From: alice@a.test, bob@b.test\r\n",
        b"From: a@b.c\r\nFrom: a@b.c\r\n",
    ],
)
def test_a_mail_of_nobody_or_several_says_nothing(sender: bytes) -> None:
    assert plain(sender + b"Subject: x\r\n\r\nhi") is None
    assert plain(sender + field("Autocrypt", "alice") + b"Subject: x\r\n\r\nhi") is None


def test_the_fields_of_the_header_are_found_folded_and_in_any_case() -> None:
    raw = mail(extra=field("AUTOCRYPT", "alice") + b"autocrypt: x=y\r\n")
    found = plain(raw)
    assert found is not None
    assert found.autocrypt == (value("alice"), b"x=y")
    assert found.message_id == "<plan@example.test>"
    assert found.protected_autocrypt == found.gossip == ()
    lf = plain(raw.replace(b"\r\n", b"\n"))
    assert lf == found
    assert plain(mail(body=field("Autocrypt", "alice"))) == KeyMaterial(ALICE, date=1_789_984_800)


def test_a_field_over_the_limit_is_none() -> None:
    found = plain(mail(extra=b"Autocrypt: addr=a@b; keydata=" + b"A" * 10_300 + b"\r\n"))
    assert found is not None
    assert found.autocrypt == ()


async def test_gossip_counts_inside_the_encryption_only() -> None:
    gossip = [value("bob").decode(), value("carol").decode()]
    payload = protect(mail(to=BOB, extra=f"Cc: {CAROL}\r\n".encode()), OUTER, (), gossip)
    found = await opened(payload, before=field("Autocrypt-Gossip", "eve"))
    assert found.gossip == (value("bob"), value("carol"))
    assert found.recipients == (BOB, CAROL)
    assert found.authentication == SIGNATURE_GOOD
    forged = plain(mail(extra=field("Autocrypt-Gossip", "eve") + field("Autocrypt", "alice")))
    assert forged is not None
    assert forged.gossip == ()


async def test_recipients_are_those_of_the_protected_header() -> None:
    inner = (
        field("Autocrypt-Gossip", "carol")
        + b"From: alice@example.test\r\nTo: bob@example.test\r\nReply-To: list@l.test\r\n"
        + b'Content-Type: text/plain; hp="cipher"\r\n\r\nhi\r\n'
    )
    found = await opened(inner)
    assert found.recipients == (BOB, "list@l.test")
    bare = field("Autocrypt-Gossip", "carol") + b"Content-Type: text/plain\r\n\r\nhi\r\n"
    assert (await opened(bare)).recipients == (BOB, CAROL)  # nothing is protected: as outside


async def test_a_field_inside_is_kept_apart_from_one_outside() -> None:
    inner = field("Autocrypt", "alice") + b"Content-Type: text/plain\r\n\r\nhi\r\n"
    found = await opened(inner, before=field("Autocrypt", "eve"), signer=None)
    assert (found.protected_autocrypt, found.autocrypt) == ((value("alice"),), (value("eve"),))
    assert found.authentication == ""


async def test_what_is_signed_by_another_vouches_for_nothing() -> None:
    found = await opened(protect(mail(), OUTER), signer="eve")
    assert found.authentication == ""


def test_a_detached_signature_does_not_cover_the_outer_url() -> None:
    raw = mail(extra=b'OpenPGP: id=ABCD; url="https://a.test/key.asc"; preference=sign\r\n')
    found = plain(raw)
    assert found is not None
    assert (found.url, found.authentication) == ("https://a.test/key.asc", "")
    signed = plain(raw, "unknown-key", "good")
    assert signed is not None
    assert (signed.url, signed.authentication) == ("", SIGNATURE_GOOD)
    assert plain(raw, "bad") == found


async def test_a_url_inside_the_encryption_is_covered() -> None:
    payload = protect(mail(extra=b"OpenPGP: url=https://a.test/k\r\n"), OUTER)
    found = await opened(payload, before=b"OpenPGP: url=https://evil.test/k\r\n")
    assert (found.url, found.authentication) == ("https://a.test/k", SIGNATURE_GOOD)


@pytest.mark.parametrize(
    "url",
    [
        b"url=http://a.test/k",
        b"id=1",
        b"url=file:///etc/passwd",
        b"url=https://a.test/" + b"x" * 2000,
    ],
)
def test_other_urls_are_none(url: bytes) -> None:
    found = plain(mail(extra=b"OpenPGP: " + url + b"\r\n"))
    assert found is not None
    assert found.url == ""


def with_parts(*parts: bytes) -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return mail(extra=b"Content-Type: multipart/mixed; boundary=b\r\n", body=body)


def test_attached_keys_are_decoded_and_bounded() -> None:
    head = b"Content-Type: application/pgp-keys\r\n"
    key = own_key("alice").certificate.armored()
    one = head + b"\r\n" + key
    encoded = head + b"Content-Transfer-Encoding: base64\r\n\r\nTElLRSBBIEtFWQ=="
    forwarded = b"Content-Type: message/rfc822\r\n\r\n" + with_parts(one)
    large = head + b"\r\n" + b"x" * (MAX_ATTACHED_OCTETS + 1)
    found = plain(with_parts(b"\r\nhi", encoded, large, forwarded, one))
    assert found is not None
    assert found.attached == (b"LIKE A KEY", key)
    many = plain(with_parts(*[one] * (MAX_ATTACHED + 2)))
    assert many is not None
    assert len(many.attached) == MAX_ATTACHED
    assert plain(mail(body=b"see application/pgp-keys\r\n")) is not None


@pytest.mark.parametrize(
    ("extra", "report", "spam"),
    [
        (b"Content-Type: multipart/report; report-type=disposition-notification\r\n", True, False),
        (b"Auto-Submitted: auto-replied\r\n", True, False),
        (b"Content-Type: Multipart/\r\n report; report-type=delivery-status\r\n", True, False),
        (b"Subject: on multipart/report, and what is auto-replied\r\n", False, False),
        (b"X-Spam-Flag: YES\r\n", False, True),
        (b"X-Spam-Flag:YES\r\n", False, True),
        (b"X-Spam-Status: Yes, score=9.1 required=5.0\r\n", False, True),
        (b"X-Spam-Status: No, score=1.0\r\n", False, False),
        (b"Auto-Submitted: no\r\nX-Spam-Flag: NO\r\n", False, False),
    ],
)
def test_reports_and_spam_are_told(extra: bytes, report: bool, spam: bool) -> None:
    for more in (b"", field("Autocrypt", "alice")):
        found = plain(mail(extra=extra + more))
        assert found is not None
        assert (found.is_report, found.is_spam) == (report, spam)


def test_a_mail_without_keys_costs_microseconds() -> None:
    raw = mail(body=b"A line of text, as mail has many of them.\r\n" * 240)
    status = SecurityStatus(encryption="provider")
    one, record = Opened(raw, status, None), header_record(raw, status)
    best = min(_seconds(raw, one, record) for _ in range(7))
    print(f"{best * 1e6:.1f} us for a mail of {len(raw)} octets")
    assert best < 100e-6  # 13 us on a machine at rest


def _seconds(raw: bytes, one: Opened, record) -> float:  # type: ignore[no-untyped-def]
    start = time.process_time()
    for _ in range(200):
        find_key_material(raw, one, record)
    return (time.process_time() - start) / 200


@pytest.mark.corpus
def test_the_corpus_says_what_it_says(corpus: Path) -> None:
    status = SecurityStatus(encryption="provider")
    record = header_record(b"", status)
    counts: Counter[str] = Counter()
    for path in sorted(corpus.rglob("*.eml")):
        raw = path.read_bytes()
        assert _empty_line(raw) == min(empty_line(raw), 256 * 1024)
        found = find_key_material(raw, Opened(raw, status, None), record)
        counts["mails"] += 1
        if found is None:
            counts["of nobody or several"] += 1
            continue
        counts["with Autocrypt"] += bool(found.autocrypt)
        counts["with keys attached"] += bool(found.attached)
        counts["with a url"] += bool(found.url)
        counts["reports"] += found.is_report
        counts["spam"] += found.is_spam
    print(dict(counts))
    assert counts == {
        "mails": 3009,
        "of nobody or several": 371,
        "with Autocrypt": 36,
        "with keys attached": 3,
        "with a url": 1,
        "reports": 68,
        "spam": 13,
    }


_LINES = st.sampled_from(
    [
        b"From: a@b.c",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"Autocrypt: ",
        b"OpenPGP: url=https://",
        b"x",
        b":",
    ]
)
_RAW = st.one_of(st.binary(max_size=200), st.lists(_LINES, max_size=25).map(b"".join))


@given(_RAW, _RAW)
@settings(max_examples=40, deadline=None)
def test_nothing_raises_whatever_comes(raw: bytes, payload: bytes) -> None:
    status = SecurityStatus(encryption="end-to-end")
    for inside in (None, payload):
        one = Opened(raw, status, None, inside, None)
        find_key_material(raw, one, header_record(raw, status))
    assert _empty_line(raw) == empty_line(raw)
