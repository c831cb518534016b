"""Every Autocrypt field, every gossip and every Setup Message of the shared corpus; counted."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from leap.keymanager.autocrypt.gossip import read_gossip
from leap.keymanager.autocrypt.header import only_header, parse_header
from leap.keymanager.autocrypt.setup_message import is_setup_message
from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    decrypt,
    read_secret_keys,
)
from leap.keymanager.openpgp.packets import Tag

pytestmark = pytest.mark.corpus

_AUTOCRYPT = re.compile(rb"(?im)^autocrypt:((?:[^\n]|\n[ \t])*)")
_GOSSIP = re.compile(rb"(?im)^autocrypt-gossip:((?:[^\n]|\n[ \t])*)")
_FROM = re.compile(rb"(?im)^from:((?:[^\n]|\n[ \t])*)")
_TO = re.compile(rb"(?im)^(?:to|cc|reply-to):((?:[^\n]|\n[ \t])*)")
_ADDRESS = re.compile(rb"[\w.+-]+@[\w.-]+")
_MESSAGE = re.compile(rb"(?ms)^-----BEGIN PGP MESSAGE-----.*?^-----END PGP MESSAGE-----")


@pytest.fixture(scope="module")
def mails(corpus: Path) -> dict[str, bytes]:
    paths = sorted(corpus.rglob("*.eml"))
    return {str(path.relative_to(corpus)): path.read_bytes() for path in paths}


def _head(raw: bytes) -> bytes:
    return re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]


def _addresses(values: list[bytes]) -> set[str]:
    return {found.decode().lower() for value in values for found in _ADDRESS.findall(value)}


def test_every_header_is_valid_or_not_as_the_specification_says(mails: dict[str, bytes]) -> None:
    counts: Counter[str] = Counter()
    invalid: list[str] = []
    for name, raw in mails.items():
        head = _head(raw)
        values = _AUTOCRYPT.findall(head)
        counts["fields"] += len(values)
        counts["mails"] += bool(values)
        headers = [parse_header(value) for value in values]
        for header in headers:
            if header is None:
                invalid.append(name)
                continue
            counts["valid"] += 1
            counts[header.prefer_encrypt] += 1
            certificate = Certificate.from_bytes(header.keydata)
            parts = [(c.tag, len(c.signatures)) for c in certificate.components]
            minimal = [(Tag.PUBLIC_KEY, 0), (Tag.USER_ID, 1), (Tag.PUBLIC_SUBKEY, 1)]
            counts["of five packets"] += parts == minimal
        senders = _addresses(_FROM.findall(head))
        if values and len(senders) == 1:
            counts["taken in"] += only_header(values, senders.pop()) is not None
    print(f"\n{dict(counts)}\ninvalid:", *invalid, sep="\n  ")
    assert counts == {
        "mails": 40,
        "fields": 42,
        "valid": 29,
        "mutual": 9,
        "nopreference": 20,
        "of five packets": 28,
        # not: two whose address is not the From's, and a mail with two valid fields
        "taken in": 25,
    }
    assert sorted(invalid) == [
        "chatmail-core/message__thunderbird_with_multiple_autocrypts.eml",  # valid=no, critical
        "chatmail-relay/mail-data__encrypted.eml",  # templates: addr={from_addr}
        "chatmail-relay/mail-data__fake-encrypted.eml",
        "chatmail-relay/mail-data__literal.eml",
        "chatmail-relay/mail-data__plain.eml",
        "muacrypt/data__rsa2048-broken-base64.eml",
        "muacrypt/data__rsa2048-explicit-type.eml",  # type=1 was of level 0
        "muacrypt/data__rsa2048-unknown-critical.eml",
        "muacrypt/data__unknown-type.eml",
        "thunderbird-android/autocrypt__rsa2048-broken-base64.eml",
        "thunderbird-android/autocrypt__rsa2048-explicit-type.eml",
        "thunderbird-android/autocrypt__rsa2048-unknown-critical.eml",
        "thunderbird-android/autocrypt__unknown-type.eml",
    ]


def test_gossip_in_encrypted_mail_is_read_for_those_it_is_sent_to(
    mails: dict[str, bytes], corpus: Path
) -> None:
    secrets: list[SecretKey] = []
    for path in sorted((corpus / "keys" / "core").glob("*-secret.asc")):
        secrets += read_secret_keys(path.read_bytes())
    counts: Counter[str] = Counter()
    for raw in mails.values():
        counts["outside"] += len(_GOSSIP.findall(_head(raw)))
        for block in _MESSAGE.findall(raw):
            try:
                payload = decrypt(block, secrets).plaintext
            except OpenPGPError:
                continue
            counts["opened"] += 1
            inside = _head(payload)
            values = _GOSSIP.findall(inside)
            counts["with gossip"] += bool(values)
            counts["fields"] += len(values)
            counts["with Autocrypt inside"] += bool(_AUTOCRYPT.findall(inside))
            counts["valid"] += sum(parse_header(value) is not None for value in values)
            named = _addresses(_TO.findall(inside) or _TO.findall(_head(raw)))
            counts["taken in"] += len(read_gossip(values, named))
    print(f"\n{dict(counts)}")
    assert counts == {
        "opened": 18,
        "outside": 0,
        "with gossip": 2,
        "fields": 3,
        "valid": 3,
        "taken in": 3,
        "with Autocrypt inside": 2,
    }


def test_setup_messages_are_found(mails: dict[str, bytes]) -> None:
    named = [
        name for name, raw in mails.items() if b"\nautocrypt-setup-message:" in _head(raw).lower()
    ]
    found = [name for name in named if is_setup_message(mails[name])]
    print(f"\n{len(mails)} mails, with the field {named}, well formed {found}")
    assert found == ["autocrypt-spec/appendix__example-setup-message.eml"]
    # the other is a template of a test, whose From and To are blanks to fill
    assert [name for name in named if name not in found] == ["chatmail-relay/mail-data__asm.eml"]
    assert not any(is_setup_message(raw) for name, raw in mails.items() if name not in named)
