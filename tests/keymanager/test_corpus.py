"""Every key, message and signature of OpenPGP in the shared corpus: what is read, opened, refused, and why; counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    NoSecretKey,
    OpenPGPError,
    RawSignature,
    SecretKey,
    Verdict,
    WrongPassphrase,
    decrypt,
    decrypt_with_passphrase,
    read_certificates,
    read_cleartext,
    read_secret_keys,
    read_signatures,
    recipients_of,
    verify_signatures,
)

from .corpus_openpgp import Found, is_openpgp, key_files, mails, search

pytestmark = pytest.mark.corpus

LEAP_TEST_PASSPHRASE = "123"  # of the original's published test key
# Passphrases published with the sources of the corpus: the setup code in the specification of Autocrypt 1.1, and the
# shared secret in chatmail's tests.
PASSPHRASES = ("1742-0185-6197-1303-7016-8412-3581-4441-0597", "secret")


class Opened(NamedTuple):
    name: str
    plaintext: bytes
    signatures: tuple[RawSignature, ...]


class Evidence:
    """All that the corpus has, with the keys that were found on the way; opened messages are searched, too."""

    def __init__(self, corpus: Path) -> None:
        self.files: Counter[str] = Counter()
        self.certificates: list[Certificate] = []
        self.secrets: list[SecretKey] = []
        self.found: list[Found] = []
        self.opened: list[Opened] = []
        self.by_passphrase: list[str] = []
        self.mails = 0
        self._read_files(corpus)
        for name, raw in mails(corpus):
            self.mails += 1
            self.found += search(name, raw)
        self.refused: dict[str, OpenPGPError] = {}
        self._open([thing for thing in self.found if thing.kind == "message"])
        self.file_certificates = tuple(self.certificates)
        for thing in self.of("autocrypt", "gossip", "key"):
            try:
                self.certificates += keys_in(thing)
            except OpenPGPError:
                continue  # counted where they are the subject

    def _read_files(self, corpus: Path) -> None:
        for _name, data in key_files(corpus):
            self.files["files"] += 1
            if not is_openpgp(data):
                self.files["of S/MIME or DKIM"] += 1
                continue
            self.certificates += read_certificates(data)
            try:
                self.secrets += read_secret_keys(data)
            except WrongPassphrase:
                self.files["locked"] += 1
                self.secrets += read_secret_keys(data, LEAP_TEST_PASSPHRASE)
            except OpenPGPError as error:
                self.files[type(error).__name__] += 1
        self.files["certificates"] = len(self.certificates)
        self.files["secret keys"] = len(self.secrets)

    def _open(self, messages: list[Found]) -> None:
        """Opens what can be opened; a message may bring a key which another one needs."""
        known = -1
        while known < len(self.secrets):
            known = len(self.secrets)
            rest = []
            for message in messages:
                try:
                    opened = self._opened(message)
                except OpenPGPError as error:
                    self.refused[message.name] = error
                    rest.append(message)
                    continue
                self.refused.pop(message.name, None)
                self.opened.append(opened)
                inner = search(f"{message.name} (inside)", opened.plaintext)
                self.found += inner
                rest += [thing for thing in inner if thing.kind == "message"]
                for thing in inner:
                    if thing.data.startswith(b"-----BEGIN PGP PRIVATE"):
                        self.secrets += read_secret_keys(thing.data)
            messages = rest

    def _opened(self, message: Found) -> Opened:
        try:
            opened = decrypt(message.data, self.secrets)
        except OpenPGPError as error:
            for passphrase in PASSPHRASES if "password" in str(error) else ():
                try:
                    opened = decrypt_with_passphrase(message.data, passphrase)
                except WrongPassphrase:
                    continue
                self.by_passphrase.append(message.name)
                break
            else:
                raise
        return Opened(message.name, opened.plaintext, opened.signatures)

    def of(self, *kinds: str) -> list[Found]:
        return [thing for thing in self.found if thing.kind in kinds]


@pytest.fixture(scope="module")
def evidence(corpus: Path) -> Evidence:
    return Evidence(corpus)


def keys_in(thing: Found) -> list[Certificate]:
    """The certificates of a block, a part, or the "keydata" of an Autocrypt field."""
    if thing.kind == "key":
        return read_certificates(thing.data)
    _, _, keydata = thing.data.partition(b"keydata=")
    keydata, title = keydata.strip(b" ;"), b"PGP PUBLIC KEY BLOCK-----"
    return read_certificates(b"-----BEGIN %s\n\n%s\n-----END %s" % (title, keydata, title))


def _print(title: str, lines: Counter[str] | list[str]) -> None:
    listed = (
        [f"{count} {what}" for what, count in lines.items()]
        if isinstance(lines, Counter)
        else lines
    )
    print(f"\n{title}:", *listed, sep="\n  ")


def test_every_key_file_is_read(evidence: Evidence) -> None:
    _print("key files", evidence.files)
    assert evidence.files == {
        "files": 62,
        "of S/MIME or DKIM": 48,
        "certificates": 14,
        "secret keys": 10,
        "locked": 1,
        "NoSecretKey": 4,  # three public keys, and one certificate in a file called private
    }
    for certificate in evidence.file_certificates:
        assert Certificate.from_bytes(certificate.armored()) == certificate
        assert len(certificate.keys) == 2
        assert certificate.can_encrypt(1_790_000_000), certificate
    for secret in evidence.secrets:
        assert SecretKey.from_bytes(secret.to_bytes()).to_bytes() == secret.to_bytes()
        assert secret.decryption_keys()


def test_every_message_is_opened_or_refused_with_its_reason(evidence: Evidence) -> None:
    counts: Counter[str] = Counter()
    ours = {name for key in evidence.secrets for name in key.certificate.key_ids}
    rest = []
    for name, error in evidence.refused.items():
        counts[f"{type(error).__name__}: {error}"] += 1
        named: tuple[str, ...] = ()
        if isinstance(error, NoSecretKey):
            [message] = [thing for thing in evidence.of("message") if thing.name == name]
            named = recipients_of(message.data)
            assert not set(named) & ours, name
        rest.append(f"{name}: {error}{' (' + ', '.join(named) + ')' if named else ''}")
    counts["with key"] = len(evidence.opened) - len(evidence.by_passphrase)
    counts["with published passphrase"] = len(evidence.by_passphrase)
    _print(f"{len(evidence.of('message'))} messages in {evidence.mails:,} mails", counts)
    _print("not opened", rest)
    assert evidence.mails == 3_009 + 299  # those in the 47 mboxes
    assert counts == {
        "with key": 33,  # one with the key from a setup message, one inside another
        "with published passphrase": 3,  # two setup messages, one to a group
        "NoSecretKey: the message is encrypted, but to none of your keys": 15,
        # "REMOVED" and "Hi!" in armor
        "Malformed: an armored block is not proper base64": 2,
        "Malformed: these bytes are not OpenPGP packets": 1,  # begins with BADBADBAD
        "NotEncrypted: the OpenPGP data is in clear": 1,  # literal data in armor
    }
    assert len(evidence.of("message")) == len(evidence.opened) + len(rest) == counts.total() == 55


def test_every_signature_has_its_verdict(evidence: Evidence) -> None:
    counts: Counter[str] = Counter()
    rest = []
    for message in evidence.opened:
        counts["encrypted and signed" if message.signatures else "encrypted alone"] += 1
        ring = evidence.certificates
        for verdict in verify_signatures(message.plaintext, message.signatures, ring):
            counts[f"inside: {verdict.state}"] += 1
    for thing in evidence.of("signature", "cleartext"):
        counts[thing.kind] += 1
        try:
            verdicts = _judged(thing, evidence.certificates)
        except OpenPGPError as error:
            counts[f"{thing.kind}: {type(error).__name__}"] += 1
            rest.append(f"{thing.name}: {error}")
            continue
        counts.update(f"{thing.kind}: {verdict.state}" for verdict in verdicts)
        rest += [f"{thing.name}: {v.reason} ({v.fingerprint})" for v in verdicts if v.reason]
    _print("signatures", counts)
    _print("not good", rest)
    assert counts == {
        "encrypted alone": 23,
        "encrypted and signed": 13,
        "inside: good": 13,
        "signature": 63,
        "signature: good": 13,
        "signature: unknown-key": 44,
        # a mail that came back with its header fields in another form, and one with others; gpg says bad, too
        "signature: bad": 2,
        "signature: Malformed": 4,  # redacted by hand, or "invalid"
        "cleartext": 6,
        "cleartext: good": 2,
        "cleartext: unknown-key": 4,
    }


def _judged(thing: Found, certificates: list[Certificate]) -> tuple[Verdict, ...]:
    """The verdicts on a signature; most of the corpus has LF line ends where CRLF was signed (RFC 3156 5)."""
    if thing.kind == "cleartext":
        text = read_cleartext(thing.data)
        return verify_signatures(text.text, text.signatures, certificates)
    signatures = read_signatures(thing.data)
    signed = thing.signed or b""
    sent = signed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    both = [verify_signatures(text, signatures, certificates) for text in (signed, sent)]
    return next((v for v in both if any(one.state != "bad" for one in v)), both[1])


def test_every_key_in_a_mail_is_read(evidence: Evidence) -> None:
    """In Autocrypt fields, in gossip of opened mails, attached, and in texts."""
    counts: Counter[str] = Counter()
    rest = []
    for thing in evidence.of("autocrypt", "gossip", "key"):
        counts[thing.kind] += 1
        try:
            found = keys_in(thing)
        except OpenPGPError as error:
            counts[f"{thing.kind}: {type(error).__name__}"] += 1
            rest.append(f"{thing.name}: {error}")
            continue
        for certificate in found:
            counts[f"{thing.kind}: certificates"] += 1
            if not certificate.addresses:
                counts[f"{thing.kind}: without an address"] += 1
                rest.append(f"{thing.name}: {certificate.user_ids}")
    _print("keys in mails", counts)
    _print("not read, or without an address", rest)
    assert counts == {
        "autocrypt": 47,
        "autocrypt: certificates": 45,
        "autocrypt: without an address": 4,  # "This should never be imported"
        "autocrypt: Malformed": 2,  # broken on purpose
        "gossip": 4,
        "gossip: certificates": 4,
        "key": 11,
        "key: certificates": 12,
    }
