"""Every mail of the shared corpus with OpenPGP, Autocrypt, protected headers or a false From has its verdict."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from leap.keymanager.autocrypt.header import only_header
from leap.keymanager.autocrypt.setup_message import is_setup_message
from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    WrongPassphrase,
    read_certificates,
    read_secret_keys,
)
from leap.mail.incoming.key_material import find_key_material
from leap.mail.incoming.opening import Opened
from leap.mail.model import header_record
from tests.keymanager.corpus_openpgp import is_openpgp, key_files, mails
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.verdicts.judging import Row, false_good, faults, lies
from tests.mail.incoming.verdicts.ring import Ring

pytestmark = pytest.mark.corpus

TABLE = Path(__file__).parent / "corpus.toml"
LEAP_TEST_PASSPHRASE = "123"  # of the original's published test key

# What makes a mail one that must have a verdict, wherever in its octets it stands.
ABOUT_IT = re.compile(
    rb"-----BEGIN PGP |application/pgp|multipart/encrypted"
    rb"|^autocrypt[a-z-]*:|^x-leap-|protected-headers\s*=|;\s*hp=\"?(?:cipher|clear)|HP-Outer:"
    rb"|LS0tLS1CRUdJTiBQR1Ag",  # "-----BEGIN PGP " in base64
    re.IGNORECASE | re.MULTILINE,
)


class Table(msgspec.Struct, forbid_unknown_fields=True):
    mail: list[Row]


ROWS = msgspec.toml.decode(TABLE.read_bytes(), type=Table).mail


class Corpus:
    """The mails by the sums of their octets, and a ring of all keys that come as files."""

    def __init__(self, folder: Path) -> None:
        found = [raw for _, raw in mails(folder)]
        self.mails = {hashlib.sha256(raw).hexdigest(): raw for raw in found}
        secrets: list[SecretKey] = []
        bound: dict[str, list[Certificate]] = {}
        for _, data in key_files(folder):
            if not is_openpgp(data):
                continue
            secrets += _secrets(data)
            for certificate in read_certificates(data):
                for address in certificate.addresses:
                    bound.setdefault(address, []).append(certificate)
        self.ring = Ring(secrets, bound)

    async def opened(self, row: Row) -> Opened:
        return await open_with_look_ups(as_sent(self.mails[row.sha256]), self.ring)


def _secrets(data: bytes) -> Sequence[SecretKey]:
    try:
        return read_secret_keys(data)
    except WrongPassphrase:
        return read_secret_keys(data, LEAP_TEST_PASSPHRASE)
    except OpenPGPError:
        return ()  # a certificate


def as_sent(raw: bytes) -> bytes:
    """The mail with the line ends it travelled with (RFC 5321 2.3.8): most files have LF."""
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def everything(corpus: Path) -> Corpus:
    return Corpus(corpus)


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
async def test_its_verdict_is_the_one_written_down(everything: Corpus, row: Row) -> None:
    assert faults(await everything.opened(row), row) == [], row.because


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.autocrypt is not None], ids=lambda row: row.file
)
async def test_it_brings_the_key_that_was_written_down(everything: Corpus, row: Row) -> None:
    one, raw = await everything.opened(row), as_sent(everything.mails[row.sha256])
    material = find_key_material(raw, one, header_record(one.served, one.security))
    header = None
    if material is not None and not material.is_report:
        header = only_header(material.autocrypt, material.from_address)
    assert (header.address if header else "") == row.autocrypt, row.because


def test_setup_messages_are_those_written_down(everything: Corpus) -> None:
    for row in ROWS:
        raw = as_sent(everything.mails[row.sha256])
        assert is_setup_message(raw) is row.setup_message, row.because


async def test_nothing_is_called_good_that_is_not(everything: Corpus) -> None:
    false = []
    for row in ROWS:
        one = await everything.opened(row)
        false += [f"{row.file}: {what}" for what in (*false_good(one, row), *lies(one))]
    assert false == []


async def test_no_other_mail_of_the_corpus_has_anything_good_or_encrypted(
    everything: Corpus,
) -> None:
    known = {row.sha256 for row in ROWS}
    for sum_, raw in everything.mails.items():
        if sum_ not in known:
            one = await open_with_look_ups(as_sent(raw), everything.ring)
            assert one.security.encryption in ("provider", "undecryptable")  # the latter: S/MIME
            assert one.security.signatures == ()
            for part in one.security.parts:  # S/MIME in an attached mail
                assert (part.encryption, part.signatures) == ("undecryptable", ())
            assert lies(one) == []


def test_every_mail_that_has_to_do_with_it_is_in_the_table(everything: Corpus) -> None:
    wanted = {sum_ for sum_, raw in everything.mails.items() if ABOUT_IT.search(raw)}
    rows = [row.sha256 for row in ROWS]
    assert wanted <= set(rows) <= set(everything.mails)
    assert len(rows) == len(set(rows))
    print(f"{len(rows)} verdicts, {len(wanted)} of them on OpenPGP, Autocrypt, protected headers")
    assert all(len(row.because) > 20 for row in ROWS)
