"""Setup Messages: ours are read by GnuPG, the specification's by us, and no bytes bring out a foreign error."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.keymanager.autocrypt.setup_code import (
    is_setup_code,
    new_setup_code,
    normal_setup_code,
)
from leap.keymanager.autocrypt.setup_message import (
    code_begins,
    is_setup_message,
    open_setup_message,
    read_setup_message,
    write_setup_message,
)
from leap.keymanager.errors import KeyRefused
from leap.keymanager.openpgp import OpenPGPError, SecretKey, WrongPassphrase
from leap.keymanager.openpgp.symmetric import encrypt_with_passphrase
from tests.keymanager.conftest import ALICE, Gpg

CODE = "1742-0185-6197-1303-7016-8412-3581-4441-0597"  # Autocrypt 1.1, "Example User Interaction"
SPECIFICATION = "autocrypt-spec/appendix__example-setup-message.eml"


@pytest.fixture(scope="module")
def written(alice: SecretKey) -> bytes:
    return write_setup_message(alice, CODE, ALICE, now=1_770_000_000)


def attachment(raw: bytes) -> bytes:
    return raw[raw.index(b"<html>") : raw.index(b"</html>") + 7]


def test_a_code_is_36_random_digits_in_blocks_of_four() -> None:
    codes = {new_setup_code() for _ in range(50)}
    assert len(codes) == 50
    assert all(is_setup_code(code) for code in codes)
    digits = iter(range(9))
    assert new_setup_code(below=lambda _: next(digits)).startswith("0000-0001-0002-")


@pytest.mark.parametrize(
    "typed",
    [
        CODE,
        CODE.replace("-", ""),
        CODE.replace("-", " "),
        f"  {CODE[:15]}\r\n{CODE[15:]}\n",
        CODE.replace("-", " \u2013 "),
        CODE.translate({ord("0") + n: 0x0966 + n for n in range(10)}),  # Devanagari digits
    ],
)
def test_a_code_is_understood_however_a_person_types_it(typed: str) -> None:
    assert normal_setup_code(typed) == CODE


@pytest.mark.parametrize("other", ["correct horse battery", "1234-5678", CODE + "-1234", "a" * 36])
def test_a_passphrase_of_another_form_stays_as_it_is(other: str) -> None:
    assert normal_setup_code(f" {other}\n") == other


def test_what_is_written_is_read_again(written: bytes, alice: SecretKey) -> None:
    assert is_setup_message(written)
    assert code_begins(written) == "17"
    opened = open_setup_message(written, CODE.replace("-", " "))
    assert opened.key.to_bytes() == alice.to_bytes()
    assert opened.prefer_encrypt == "mutual"
    kept = write_setup_message(alice, CODE, ALICE, now=0, prefer_encrypt="nopreference")
    assert open_setup_message(kept, CODE).prefer_encrypt == "nopreference"


def test_a_message_has_the_form_that_other_programs_ask_for(written: bytes) -> None:
    written.decode("ascii")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", written)
    assert max(map(len, written.split(b"\r\n"))) <= 78
    assert b"\r\nAutocrypt-Setup-Message: v1\r\n" in written
    assert (
        b"-----BEGIN PGP MESSAGE-----\r\nPassphrase-Format: numeric9x4\r\nPassphrase-Begin: 17\r\n\r\n"
        in written
    )
    digits = CODE.replace("-", "")
    assert CODE[2:] not in written.decode()
    assert digits[2:] not in written.decode()


def test_the_attachment_alone_and_the_block_alone_are_read(
    written: bytes, alice: SecretKey
) -> None:
    saved = attachment(written)
    assert read_setup_message(saved, CODE).fingerprint == alice.fingerprint
    block = saved[saved.index(b"-----BEGIN") : saved.index(b"</pre>")]
    assert read_setup_message(block, CODE).fingerprint == alice.fingerprint


def test_gpg_decrypts_the_attachment_with_the_code_and_imports_the_key(
    written: bytes, alice: SecretKey, gpg: Gpg
) -> None:
    opened = gpg("--passphrase", CODE, "--decrypt", data=attachment(written))
    assert opened.startswith(
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\nAutocrypt-Prefer-Encrypt: mutual\n"
    )
    gpg("--import", data=opened)
    assert alice.fingerprint.encode() in gpg("--with-colons", "--list-secret-keys")


def test_a_wrong_code_opens_nothing(written: bytes) -> None:
    with pytest.raises(WrongPassphrase):
        read_setup_message(written, CODE[:-1] + "8")


def test_a_code_or_address_of_another_form_is_refused(alice: SecretKey) -> None:
    for code, address in [
        ("1234", ALICE),
        (CODE, "alice"),
        (CODE, "a@b.c>\r\nBcc: <eve@evil.test"),
    ]:
        with pytest.raises(KeyRefused):
            write_setup_message(alice, code, address, now=0)


def test_only_the_first_block_that_was_opened_counts(alice: SecretKey, eve: SecretKey) -> None:
    both = encrypt_with_passphrase(alice.armored() + eve.armored(), CODE)
    assert read_setup_message(both, CODE).fingerprint == alice.fingerprint
    for wrong in (b"text before\n" + alice.armored(), b"no key", alice.certificate.armored()):
        with pytest.raises(KeyRefused):
            read_setup_message(encrypt_with_passphrase(wrong, CODE), CODE)


def swapped(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw.replace(old, new, 1)


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "of another version": swapped(b"Message: v1", b"Message: v2"),
    "two versions": swapped(b"Subject:", b"Autocrypt-Setup-Message: v1\r\nSubject:"),
    "to somebody else": swapped(b"To: <alice@", b"To: <eve@"),
    "to nobody": swapped(b"To: <alice@example.test>\r\n", b""),
    "not multipart": swapped(b"multipart/mixed", b"multipart/alternative"),
    "without boundary": swapped(b"boundary=", b"border="),
    "without the part": swapped(b"application/autocrypt-setup", b"text/html"),
    "without the block": swapped(b"BEGIN PGP MESSAGE", b"BEGIN PGP LETTER"),
    "cut off": lambda raw: raw[: raw.index(b"-----END PGP")],
    "without the field": swapped(b"Autocrypt-Setup-Message: v1\r\n", b""),
    "too large": lambda raw: raw.replace(b"<html>", b"<html>" + b" " * 3_000_000),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_what_is_malformed_is_not_offered(how: str, written: bytes) -> None:
    assert not is_setup_message(MALFORMED[how](written))


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_an_encoded_attachment_is_read(encoding: bytes, written: bytes, alice: SecretKey) -> None:
    body = attachment(written)
    encoded = base64.encodebytes(body) if encoding == b"base64" else quopri.encodestring(body)
    raw = written.replace(body, encoded).replace(
        b"Content-Disposition: att",
        b"Content-Transfer-Encoding: " + encoding + b"\r\nContent-Disposition: att",
    )
    assert is_setup_message(raw)
    assert read_setup_message(raw, CODE).fingerprint == alice.fingerprint


def test_the_specifications_message_is_read_with_its_code(corpus: Path) -> None:
    raw = (corpus / SPECIFICATION).read_bytes()
    assert is_setup_message(raw)
    assert code_begins(raw) == "17"
    opened = open_setup_message(raw, CODE)
    assert opened.prefer_encrypt == "mutual"
    assert opened.key.fingerprint == "EB85BB5FA33A75E15E944E63F231550C4F47E38E"
    assert opened.key.certificate.addresses == ("alice@autocrypt.example",)


@given(st.binary(max_size=200), st.integers(0, 3000), st.integers(0, 50))
@example(b"", 0, 0)
@settings(max_examples=40, deadline=None)
def test_no_bytes_raise_anything_foreign(junk: bytes, at: int, cut: int) -> None:
    template = (
        b"From: <a@b.c>\r\nTo: <a@b.c>\r\nAutocrypt-Setup-Message: v1\r\n"
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x\r\n"
        b"Content-Type: application/autocrypt-setup\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n"
        b"jA0EBwMC\r\n-----END PGP MESSAGE-----\r\n--x--\r\n"
    )
    at = min(at, len(template))
    for raw in (junk, template[:at] + junk + template[at + cut :]):
        is_setup_message(raw)
        code_begins(raw)
        try:
            read_setup_message(raw, "x")
        except (KeyRefused, OpenPGPError):
            pass
