"""Signature packets (RFC 9580 5.2): parsing, what is hashed, making new ones. Whether to believe one: `verdict`.

Invariants:
* Statements are read from the hashed area only; from the unhashed one just who may have signed, and the
  embedded back signature, which carries its own proof.
* A critical subpacket or notation that we do not know makes the signature unusable (RFC 9580 5.2.3.7).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.component import readable
from leap.keymanager.openpgp.errors import Malformed, Unsupported
from leap.keymanager.openpgp.packets import Cursor, length_octets
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial


class SignatureType(IntEnum):
    """What a signature says (RFC 9580 5.2.1)."""

    BINARY = 0x00
    TEXT = 0x01
    CERTIFY_GENERIC = 0x10
    CERTIFY_PERSONA = 0x11
    CERTIFY_CASUAL = 0x12
    CERTIFY_POSITIVE = 0x13
    SUBKEY_BINDING = 0x18
    PRIMARY_BINDING = 0x19
    DIRECT_KEY = 0x1F
    REVOKE_KEY = 0x20
    REVOKE_SUBKEY = 0x28
    REVOKE_CERTIFICATION = 0x30


CERTIFICATIONS = frozenset({0x10, 0x11, 0x12, 0x13})


class Subpacket(IntEnum):
    """RFC 9580 5.2.3.7."""

    CREATED = 2
    EXPIRES = 3
    EXPORTABLE = 4
    REVOCABLE = 7
    KEY_EXPIRES = 9
    SYMMETRIC = 11
    ISSUER = 16
    NOTATION = 20
    HASHES = 21
    COMPRESSION = 22
    KEY_SERVER = 23
    KEY_SERVER_URL = 24
    PRIMARY_USER_ID = 25
    POLICY = 26
    KEY_FLAGS = 27
    SIGNER = 28
    REVOCATION_REASON = 29
    FEATURES = 30
    EMBEDDED = 32
    ISSUER_FINGERPRINT = 33
    RECIPIENT_FINGERPRINT = 35
    AEAD_SUITES = 39


_UNDERSTOOD = frozenset(Subpacket) - {Subpacket.NOTATION}
_MAX_SUBPACKETS = 256


class _Field(NamedTuple):
    kind: int
    critical: bool
    data: bytes


class Signature:
    """One parsed signature packet; `body` is the packet's body, byte for byte."""

    __slots__ = (
        "_hashed",
        "_head",
        "_left16",
        "_unhashed",
        "algorithm",
        "body",
        "created",
        "fields",
        "hash_number",
        "kind",
        "salt",
        "unusable",
        "version",
    )

    def __init__(self, body: bytes) -> None:
        """Raises Malformed, Unsupported."""
        cursor = Cursor(body)
        self.body = body
        self.version = cursor.octet()
        self.salt = b""
        self._hashed: tuple[_Field, ...] = ()
        self._unhashed: tuple[_Field, ...] = ()
        if self.version == 3:
            if cursor.octet() != 5:
                raise Malformed("a version 3 signature with an impossible length")
            self._head = cursor.take(5)
            self.kind = self._head[0]
            self._unhashed = (_Field(Subpacket.ISSUER, False, cursor.take(8)),)
            self.algorithm, self.hash_number = cursor.octet(), cursor.octet()
            self.created = int.from_bytes(self._head[1:], "big")
        elif self.version in (4, 6):
            self.kind, self.algorithm, self.hash_number = cursor.take(3)
            width = 2 if self.version == 4 else 4
            hashed = cursor.take(cursor.number(width))
            self._head = body[: cursor.at]
            self._hashed = _read_area(hashed)
            self._unhashed = _read_area(cursor.take(cursor.number(width)))
            created = self._value(Subpacket.CREATED)
            if created is None or len(created) != 4:
                raise Malformed("a signature without its time")  # RFC 9580 5.2.3.11
            self.created = int.from_bytes(created, "big")
        else:
            raise Unsupported(f"signatures of version {self.version} are not supported")
        self._left16 = cursor.take(2)
        if self.version == 6:
            self.salt = cursor.take(cursor.octet())
            if len(self.salt) != algorithms.hash_algorithm(self.hash_number).salt_size:
                raise Malformed("a signature with a salt of the wrong size")  # RFC 9580 5.2.3
        self.fields = cursor.rest()
        self.unusable = self._find_unknown_critical()

    def __repr__(self) -> str:
        return f"<Signature kind=0x{self.kind:02x} by {self.issuer or 'nobody named'}>"

    def _find_unknown_critical(self) -> str:
        for field in self._hashed:
            if field.critical and field.kind not in _UNDERSTOOD:
                return "it demands something this program does not know"
        return ""

    def _value(self, kind: int) -> bytes | None:
        """The last statement of a kind: RFC 9580 5.2.3.9 says later ones win."""
        for field in reversed(self._hashed):
            if field.kind == kind:
                return field.data
        return None

    def _all(self, kind: int) -> list[bytes]:
        return [field.data for field in (*self._hashed, *self._unhashed) if field.kind == kind]

    # --- statements -------------------------------------------------------------------------

    def statements(self, wanted: Callable[[int], bool]) -> list[bytes]:
        """The signed subpackets of the kinds `wanted`, as they stand: for a signature that renews this one."""
        fields = (field for field in self._hashed if wanted(field.kind))
        return [subpacket(field.kind, field.data, critical=field.critical) for field in fields]

    @property
    def expires(self) -> int | None:
        """When the signature itself ends, in seconds since 1970."""
        return self._after(Subpacket.EXPIRES, self.created)

    def key_expires(self, key: PublicKey) -> int | None:
        """When the key this signature is about ends; None means never."""
        return self._after(Subpacket.KEY_EXPIRES, key.created)

    def _after(self, kind: int, start: int) -> int | None:
        value = self._value(kind)
        span = int.from_bytes(value[:4], "big") if value is not None else 0
        return start + span if span else None

    @property
    def is_about_key(self) -> bool:
        """Whether it says what a key is for or when it ends; one that names a revoker, for example, does neither."""
        return any(f.kind in (Subpacket.KEY_FLAGS, Subpacket.KEY_EXPIRES) for f in self._hashed)

    @property
    def says_when_key_ends(self) -> bool:
        """Whether it says when a key ends, or that it never does."""
        return self._value(Subpacket.KEY_EXPIRES) is not None

    @property
    def key_flags(self) -> int | None:
        """Bits of RFC 9580 5.2.3.29: 1 certify, 2 sign, 4 and 8 encrypt; None when not said."""
        value = self._value(Subpacket.KEY_FLAGS)
        return None if value is None else (value[0] if value else 0)

    @property
    def features(self) -> int:
        """Bits of RFC 9580 5.2.3.32: 1 MDC, 8 SEIPD version 2."""
        value = self._value(Subpacket.FEATURES)
        return value[0] if value else 0

    @property
    def is_primary_user_id(self) -> bool:
        return bool((self._value(Subpacket.PRIMARY_USER_ID) or b"\0")[0])

    @property
    def revocation_reason(self) -> tuple[int, str]:
        """Code and text (RFC 9580 5.2.3.31); code 0 when none is given."""
        value = self._value(Subpacket.REVOCATION_REASON) or b"\0"
        return value[0], readable(value[1:])

    @property
    def is_exportable(self) -> bool:
        return self._value(Subpacket.EXPORTABLE) != b"\0"

    @property
    def issuer_fingerprints(self) -> list[bytes]:
        return [v[1:] for v in self._all(Subpacket.ISSUER_FINGERPRINT) if len(v) in (21, 33)]

    @property
    def issuer_key_ids(self) -> list[bytes]:
        return [v for v in self._all(Subpacket.ISSUER) if len(v) == 8]

    @property
    def issuer(self) -> str:
        """Fingerprint, else key id, of who says to have signed, in upper hex; empty when not said."""
        named = self.issuer_fingerprints or self.issuer_key_ids
        return named[0].hex().upper() if named else ""

    @property
    def intended_recipients(self) -> list[bytes]:
        """Fingerprints the signer meant the message for (RFC 9580 5.2.3.36)."""
        kind = Subpacket.RECIPIENT_FINGERPRINT
        return [f.data[1:] for f in self._hashed if f.kind == kind and len(f.data) > 1]

    @property
    def signed(self) -> bytes:
        """All of it but the area that is not signed, which anybody can change: of one signature always the same."""
        return b"".join((self._head, self._left16, self.salt, self.fields))

    @property
    def embedded(self) -> list[bytes]:
        """Bodies of embedded signatures."""
        return self._all(Subpacket.EMBEDDED)

    @property
    def hash_name(self) -> str:
        try:
            return algorithms.hash_algorithm(self.hash_number).name
        except Unsupported:
            return f"hash-{self.hash_number}"

    def may_be_by(self, key: PublicKey) -> bool:
        """Whether the signature names `key`, or nobody."""
        if key.algorithm != self.algorithm or (self.version == 6) != (key.version == 6):
            return False
        if prints := self.issuer_fingerprints:
            return key.fingerprint in prints
        ids = self.issuer_key_ids
        return not ids or key.key_id in ids

    # --- truth ------------------------------------------------------------------------------

    def digest(self, pieces: Iterable[bytes]) -> bytes:
        """The hash over `pieces` and this signature's own statements (RFC 9580 5.2.4)."""
        running = algorithms.new_hash(self.hash_number)
        running.update(self.salt)
        for piece in pieces:
            running.update(piece)
        running.update(self._head)
        if self.version != 3:
            running.update(_trailer(self.version, len(self._head)))
        return running.digest()

    def is_over(self, pieces: Iterable[bytes], key: PublicKey) -> bool:
        """Whether `key` made this signature over `pieces`; raises Unsupported, Malformed."""
        digest = self.digest(pieces)
        if digest[:2] != self._left16:
            return False
        return key.verify(self.hash_number, digest, self.fields)


def _trailer(version: int, length: int) -> bytes:
    return bytes([version, 0xFF]) + (length & 0xFFFFFFFF).to_bytes(4, "big")


def _read_area(area: bytes) -> tuple[_Field, ...]:
    found: list[_Field] = []
    at, end = 0, len(area)
    while at < end:
        if len(found) >= _MAX_SUBPACKETS:
            raise Malformed("a signature with absurdly many statements")
        length = area[at]
        at += 1
        if length >= 192:  # RFC 9580 5.2.3.7
            cursor = Cursor(area[at : at + 4])
            two = ((length - 192) << 8) + cursor.octet() + 192 if length < 255 else 0
            length = two or cursor.number(4)
            at += cursor.at
        if length == 0:
            raise Malformed("an empty signature subpacket")
        if length > end - at:
            raise Malformed("a statement of a signature ends too early")
        kind = area[at]
        found.append(_Field(kind & 0x7F, kind >= 0x80, area[at + 1 : at + length]))
        at += length
    return tuple(found)


def text_form(data: bytes) -> bytes:
    """Text as signatures of type TEXT hash it: every line end as CRLF (RFC 9580 5.2.1.2).

    A CR alone ends no line, as GnuPG and OpenPGP.js have it. Else whoever passes a signed mail on could join the
    header lines of a part, which readers of mail understand otherwise.
    """
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def subpacket(kind: int, data: bytes, *, critical: bool = False) -> bytes:
    """One statement, as it stands in an area."""
    return length_octets(len(data) + 1) + bytes([kind | (0x80 if critical else 0)]) + data


def make_signature(
    signer: SecretMaterial,
    kind: int,
    pieces: Sequence[bytes],
    *,
    created: int,
    statements: Sequence[bytes] = (),
    hash_number: int = algorithms.SHA512,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The body of a new signature packet over `pieces` by `signer`; raises Unsupported, Malformed."""
    key = signer.public
    if (
        not 0 <= created < 1 << 32
    ):  # after a signature from the last second there is, none can be newer
        raise Malformed("a signature cannot be dated before 1970 or after 2106")
    area = b"".join(
        (
            subpacket(Subpacket.CREATED, created.to_bytes(4, "big"), critical=True),
            subpacket(Subpacket.ISSUER_FINGERPRINT, bytes([key.version]) + key.fingerprint),
            *statements,
        )
    )
    width = 2 if key.version == 4 else 4
    if len(area) >= 1 << 8 * width:
        raise Malformed("too many statements for one signature")
    # programs before 2017 know only the key id, which version 6 forbids (RFC 9580 5.2.3.12)
    unhashed = subpacket(Subpacket.ISSUER, key.key_id) if key.version == 4 else b""
    head = bytes([key.version, kind, key.algorithm, hash_number])
    head += len(area).to_bytes(width, "big") + area
    salt_size = algorithms.hash_algorithm(hash_number).salt_size if key.version == 6 else 0
    salt = random(salt_size) if salt_size else b""
    running = algorithms.new_hash(hash_number)
    for piece in (salt, *pieces, head, _trailer(key.version, len(head))):
        running.update(piece)
    digest = running.digest()
    tail = bytes([len(salt)]) + salt if key.version == 6 else b""
    fields = signer.sign(hash_number, digest)
    return b"".join(
        (head, len(unhashed).to_bytes(width, "big"), unhashed, digest[:2], tail, fields)
    )
