"""Cleartext-signed text: what GnuPG and Sequoia write, what stands around it, and what was changed."""

from __future__ import annotations

import email
import time
from collections import Counter
from pathlib import Path

import pysequoia
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import (
    Certificate,
    CleartextSigned,
    Malformed,
    OpenPGPError,
    SecretKey,
    TooLarge,
    Unsupported,
    is_cleartext_signed,
    read_certificates,
    read_cleartext,
    sign_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import SIGNATURE, armor, dearmor
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.signature import SignatureType, make_signature

from .conftest import BIRTH, Gpg

TEXTS = {
    "plain": b"Dear Bob,\nhow are you?\n",
    "no end": b"one line",
    "empty": b"",
    "lines": b"\n\n\n",
    "dashes": b"- one\n-two\n--\n-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNED MESSAGE-----\n-\n- \n",
    "from": b"From here\n>From there\n",
    "blanks": b"a  \nb\t\n \t \n c \t\r\n\r\nd",
    "not ascii": "Grüße 你好 \u00a0\n\x0c\x0b \n".encode(),
}


def canonical(text: bytes) -> bytes:
    """What is signed of a text."""
    lines = text.replace(b"\r\n", b"\n").split(b"\n")
    if lines[-1] == b"" and len(lines) > 1:
        lines.pop()
    return b"\r\n".join(line.rstrip(b" \t\r") for line in lines)


def written(text: bytes, *signers: SecretKey, at: int = BIRTH + 5) -> bytes:
    """A cleartext-signed text, as RFC 9580 7 describes it."""
    signed = canonical(text)
    signatures = [
        make_signature(s.primary_secret(), SignatureType.TEXT, (signed,), created=at)
        for s in signers
    ]
    escaped = [b"- " + line if line[:1] == b"-" else line for line in signed.split(b"\r\n")]
    packets = b"".join(packet(Tag.SIGNATURE, body) for body in signatures)
    block = armor(packets, SIGNATURE, checksum=True)  # or GnuPG 2.2 fails on some lengths
    head = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
    return head + b"\n".join(escaped) + b"\n" + block


def states(found: CleartextSigned, *keys: SecretKey) -> list[str]:
    certificates = [key.certificate for key in keys]
    verdicts = verify_signatures(
        found.text, found.signatures, certificates, now=lambda: BIRTH + 100
    )
    return [verdict.state for verdict in verdicts]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_signed_text_is_read_as_it_was_signed(
    alice: SecretKey, bob: SecretKey, text: bytes
) -> None:
    block = written(text, alice, bob)
    for shape in (block, block.replace(b"\n", b"\r\n"), block.replace(b"\n", b" \t\n")):
        around = b"Hello,\n\n" + shape + b"\nnot signed\n"
        found = read_cleartext(around)
        assert found.text == canonical(text)
        assert found.hashes == ("SHA512",)
        assert around[: found.start] == b"Hello,\n\n"
        assert around[found.end :].strip() == b"not signed"
        assert states(found, alice, bob) == ["good", "good"]
        assert states(found, bob) == ["unknown-key", "good"]


def test_what_was_changed_is_bad_and_what_is_not_signed_does_not_matter(alice: SecretKey) -> None:
    block = written(b"pay 10\n\n- and  no more\n", alice)
    for changed in (
        block.replace(b"pay 10", b"pay 100"),
        block.replace(b"pay 10", b"pay\n 10"),
        block.replace(b"- - and", b"- and"),
        block.replace(b"and  no", b"and no"),
        block.replace(b"more\n", b"more\n\n"),
    ):
        assert changed != block
        assert states(read_cleartext(changed), alice) == ["bad"]
    for same in (
        block.replace(b"10\n", b"10 \t \n"),
        block.replace(b"pay", b"- pay"),  # RFC 9580 7.1: any line may be dash-escaped
        block.replace(b"Hash: SHA512\n", b""),
        block.replace(b"Hash: SHA512\n", b"Hash: SHA1, SHA512\nHash: MD5\n"),
    ):
        assert states(read_cleartext(same), alice) == ["good"]


def test_a_binary_signature_is_over_the_same_text(alice: SecretKey) -> None:
    text = b"one\r\ntwo"
    body = make_signature(alice.primary_secret(), SignatureType.BINARY, (text,), created=BIRTH + 5)
    block = armor(packet(Tag.SIGNATURE, body), SIGNATURE)
    found = read_cleartext(b"-----BEGIN PGP SIGNED MESSAGE-----\n\none\ntwo\n" + block)
    assert states(found, alice) == ["good"]


def test_several_blocks_are_read_one_after_the_other(alice: SecretKey, bob: SecretKey) -> None:
    data = written(b"one", alice) + b"between\n" + written(b"two", bob)
    first = read_cleartext(data)
    second = read_cleartext(data, first.end)
    assert (first.text, second.text) == (b"one", b"two")
    assert states(first, alice) == states(second, bob) == ["good"]
    with pytest.raises(Malformed):
        read_cleartext(data, second.end)


HASH_LINES = (
    b"pay 100\n",
    b"SHA512, now\n",
    b"SHA512\x0bpay 100\n",
    b"SHA512\x1b[8m\n",
    b"\xe2\x80\xae\n",
)


def test_what_could_pass_for_signed_and_is_not_is_refused(alice: SecretKey) -> None:
    block = written(b"text\n", alice)
    head, _, rest = block.partition(b"\n")
    for changed in (
        head + b"\nComment: pay 100\n" + rest,
        head + b"\npay 100\n" + rest,
        *(head + b"\nHash: " + words + rest for words in HASH_LINES),
        block.replace(b"text", b"text\n-----BEGIN PGP SIGNED MESSAGE-----\n\ntext"),
        block.replace(b"\n\n", b"\n", 1),
        block[: block.index(b"-----BEGIN PGP SIGNATURE")],
        block[: block.index(b"-----END")],
        block.replace(b"-----BEGIN PGP SIGNED", b"> -----BEGIN PGP SIGNED"),
        b"",
    ):
        with pytest.raises(Malformed):
            read_cleartext(changed)
    with pytest.raises(Unsupported):
        read_cleartext(head + b"\nNotDashEscaped: You need GnuPG\n" + rest)
    many = packet(Tag.SIGNATURE, dearmor(sign_detached(b"x", alice, now=lambda: BIRTH))) * 65
    with pytest.raises(TooLarge):
        read_cleartext(block[: block.index(b"-----BEGIN PGP SIGNATURE")] + armor(many, SIGNATURE))
    assert is_cleartext_signed(b"x\n" + block)
    assert not is_cleartext_signed(b"x" + block)


def test_long_texts_take_no_longer_than_their_length() -> None:
    head = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
    before = time.process_time()
    for data in (
        head * 30_000,
        head + b"\n" + b"- \n" * 300_000,
        head + b"\n" + b"-----BEGIN PGP SIGNATURE-----\n" * 30_000,
        head + b"Hash: SHA1\n" * 100_000,
        head + b" " * 1_000_000,
    ):
        with pytest.raises(Malformed):
            read_cleartext(data)
    assert time.process_time() - before < 2


@settings(max_examples=40)
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_any_octets_give_a_text_or_our_error(one: bytes, two: bytes, three: bytes) -> None:
    head, end = b"-----BEGIN PGP SIGNED MESSAGE-----\n", b"\n-----END PGP SIGNATURE-----\n"
    for data in (
        one,
        head + one + b"\n\n" + two + b"\n-----BEGIN PGP SIGNATURE-----\n\n" + three + end,
    ):
        try:
            read_cleartext(data)
        except OpenPGPError:
            pass


@pytest.fixture(scope="module")
def signers(gpg: Gpg, alice: SecretKey, bob: SecretKey) -> list[SecretKey]:
    for key in (alice, bob):
        gpg("--import", data=key.to_bytes())
    return [alice, bob]


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "not ascii"])
def test_gpgs_cleartext_signatures_are_good(gpg: Gpg, signers: list[SecretKey], name: str) -> None:
    at = ("--faked-system-time", f"{BIRTH + 60}")
    users = [part for key in signers for part in ("-u", key.fingerprint)]
    made = gpg("--clearsign", *at, *users, *("--digest-algo", "SHA256"), data=TEXTS[name])
    for shape in (made, made.replace(b"\n", b"\r\n")):
        found = read_cleartext(shape)
        assert found.hashes == ("SHA256",)
        assert states(found, *signers) == ["good", "good"]
    # and the other way: gpg reads the form of these tests as we do
    checked = gpg.run("--verify", *at, data=written(TEXTS[name], *signers))
    assert checked.stderr.count(b"GOODSIG") == 2


def test_sequoias_cleartext_signatures_are_good() -> None:
    tsk = pysequoia.Tsk.generate("s@example.test", profile=pysequoia.Profile.RFC9580)
    [certificate] = read_certificates(bytes(tsk.extract_certificate()))
    for text in TEXTS.values():
        made = pysequoia.sign(tsk.signer(), text, mode=pysequoia.SignatureMode.CLEAR)
        found = read_cleartext(made)
        [verdict] = verify_signatures(found.text, found.signatures, [certificate])
        assert verdict.state == "good", (text, found.text)


@pytest.mark.corpus
def test_every_cleartext_signed_mail_of_the_corpus_is_read(corpus: Path) -> None:
    counts: Counter[str] = Counter()
    certificates = [
        certificate
        for path in (corpus / "keys").rglob("*")
        if path.is_file() and path.name != "MANIFEST.tsv"
        for certificate in _certificates(path.read_bytes())
    ]
    for path in sorted(corpus.rglob("*.eml")):
        data = path.read_bytes()
        if b"-----BEGIN PGP SIGNED MESSAGE-----" not in data:
            continue
        for part in email.message_from_bytes(data).walk():
            text = part.get_payload(decode=True)
            if not isinstance(text, bytes) or not is_cleartext_signed(text):
                continue
            found = read_cleartext(text)
            counts["texts"] += 1
            for verdict in verify_signatures(found.text, found.signatures, certificates):
                counts[f"{verdict.state}, {verdict.hash_name}"] += 1
    print("\ncleartext-signed:", dict(counts))
    assert counts == {
        "texts": 6,
        "unknown-key, sha1": 1,
        "unknown-key, sha256": 2,
        "unknown-key, sha512": 1,
        "unknown-key, md5": 2,
    }


def _certificates(data: bytes) -> list[Certificate]:
    try:
        return read_certificates(data)
    except OpenPGPError:
        return []
