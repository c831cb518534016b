"""Nothing secret shows: in no text of any object of the engine, in no exception, in no line of the log.

Looked for are pieces of every secret number, of passphrases, session keys and plaintext, as octets, hex, base64 and
decimal numbers.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import inspect
import logging
import pickle
import pkgutil
import random
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from leap.keymanager import openpgp
from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    apply_revocation,
    change_passphrase,
    decrypt,
    encrypt,
    generate,
    generate_with_revocation,
    read_certificates,
    read_secret_keys,
    sign_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Packet, Tag, mpi, packet, read_packets
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial, read_secret
from leap.keymanager.openpgp.self_signing import Owner, end_of
from leap.keymanager.openpgp.session_key import SessionKey, read_wrapped_key, unwrap
from leap.keymanager.openpgp.signature import Signature, SignatureType

from .conftest import ALICE, BIRTH
from .making import CERTIFY_AND_SIGN, with_more

PHRASE = "correct horse battery staple"
TEXT = b"The treasure lies under the oak. " * 3
PIECE = 8  # octets which nobody writes by chance


@pytest.fixture(scope="module")
def keys() -> list[SecretKey]:
    """Of all forms of secrets: curves in both schemes, ML-KEM, RSA."""
    made = [
        generate(ALICE, now=lambda: BIRTH, version=version, post_quantum=True) for version in (4, 6)
    ]
    rsa = key_of(rsa_material(BIRTH), rsa_material(BIRTH), address=ALICE)
    return [*made, rsa]


@pytest.fixture(scope="module")
def needles(keys: list[SecretKey]) -> frozenset[str]:
    secrets = [PHRASE.encode(), TEXT]
    for key in keys:
        for material in materials(key):
            secrets += [field for field in material.fields if len(field) >= PIECE]
    return frozenset(text for secret in secrets for text in forms(secret))


def materials(key: SecretKey) -> list[SecretMaterial]:
    return list(key._secrets.values())


def forms(secret: bytes) -> Iterator[str]:
    """How a secret could be written into a text: whole, and pieces of its beginning, middle and end."""
    middle = len(secret) // 2
    yield str(int.from_bytes(secret, "big"))
    yield str(int.from_bytes(secret, "little"))
    for piece in (secret[:PIECE], secret[middle : middle + PIECE], secret[-PIECE:]):
        yield piece.hex()
        yield piece.hex(" ")
        yield repr(piece)[2:-1]
        yield ", ".join(map(str, piece))
        if piece.isascii():
            yield piece.decode()
    for start in range(3):
        whole = (len(secret) - start) // 3 * 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
            text = encode(secret[start : start + whole]).decode()
            yield from (text[:12], text[-16:-4])


def shown(needles: frozenset[str], text: str) -> list[str]:
    lower = text.lower()
    return [needle for needle in needles if needle in text or needle.lower() in lower]


def texts_of(thing: object) -> str:
    """Whatever a program may make a text of it with."""
    return "\n".join((repr(thing), str(thing), f"{thing}", format(thing), f"{thing!s} {[thing]!r}"))


def everything(keys: list[SecretKey]) -> Iterator[object]:
    """One of each that the engine gives out or works with."""
    for key in keys:
        yield key
        yield key.certificate
        yield from materials(key)
        yield from read_packets(key.to_bytes())
        mail = encrypt(TEXT, [key.certificate], key, now=lambda: BIRTH + 1)
        opened = decrypt(mail, [key])
        yield opened
        yield from verify_signatures(TEXT, opened.signatures, [key.certificate])
        yield generate_with_revocation(ALICE)
        yield pickle.loads(pickle.dumps(key))
        yield from key.certificate.keys
        yield from (Signature(s) for c in key.certificate.components for s in c.signatures)


def reachable(roots: Iterable[object]) -> Iterator[object]:
    """Objects of the engine which others hold."""
    seen: set[int] = set()
    kept: list[object] = []  # else an id could come again
    todo = list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kept.append(thing)
        if isinstance(thing, list | tuple | set | frozenset):
            todo.extend(thing)
        elif isinstance(thing, dict):
            todo.extend(thing.values())
        if type(thing).__module__.startswith(openpgp.__name__):
            yield thing
            names = [n for kind in type(thing).__mro__ for n in getattr(kind, "__slots__", ())]
            names += list(getattr(thing, "__dict__", {}))
            todo.extend(getattr(thing, name) for name in names if hasattr(thing, name))


def key_of(primary: SecretMaterial, *subkeys: SecretMaterial, address: str) -> SecretKey:
    """A key of any algorithms: a primary one to certify and sign with, subkeys to encrypt to."""
    head = Component(Tag.PUBLIC_KEY, primary.public.body, ())
    owner = Owner(Certificate([head]), primary, primary.public.created)
    end = end_of(primary.public, None)
    if primary.public.version == 6:
        body = owner.sign_on(head, SignatureType.DIRECT_KEY, [CERTIFY_AND_SIGN, end])
        head = with_more(head, [body])
    name = Component(Tag.USER_ID, address.encode(), ())
    body = owner.sign_on(name, SignatureType.CERTIFY_POSITIVE, [CERTIFY_AND_SIGN, end])
    bound = [owner.bind(subkey, 0x0C, end_of(subkey.public, None)) for subkey in subkeys]
    secrets = {s.public.fingerprint: s for s in (primary, *subkeys)}
    return SecretKey(Certificate([head, with_more(name, [body]), *bound]), secrets)


def rsa_material(created: int, bits: int = 2048) -> SecretMaterial:
    """A new RSA key as it stands in a packet of version 4."""
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    public = PublicKey(b"\4" + created.to_bytes(4, "big") + b"\1" + number(n) + number(e))
    d, p, q = (
        numbers.d,
        numbers.q,
        numbers.p,
    )  # RFC 9580 5.5.5.1: the smaller one first, u its inverse
    if p > q:
        p, q = q, p
    return SecretMaterial(public, number(d) + number(p) + number(q) + number(pow(p, -1, q)))


def number(value: int) -> bytes:
    return mpi(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def test_no_object_of_the_engine_shows_a_secret(
    keys: list[SecretKey], needles: frozenset[str]
) -> None:
    assert shown(needles, materials(keys[0])[0].fields[0].hex())  # the search itself works
    seen = set()
    for thing in reachable(everything(keys)):
        seen.add(type(thing))
        assert not shown(needles, texts_of(thing)), type(thing)
    held = {SecretKey, SecretMaterial, Certificate, PublicKey, Signature, Packet}
    assert held <= seen


def classes() -> list[type]:
    """All classes the engine's modules define."""
    found = set()
    for info in pkgutil.iter_modules(openpgp.__path__, f"{openpgp.__name__}."):
        module = importlib.import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == info.name and not issubclass(kind, BaseException):
                found.add(kind)
    return sorted(found, key=lambda kind: kind.__qualname__)


def test_what_every_public_class_would_show_if_all_in_it_were_secret() -> None:
    """New ones as well: whoever adds a class that prints its octets is told so here."""
    secret = bytes(range(100, 140))
    needles = frozenset(forms(secret))
    public = {getattr(openpgp, name) for name in openpgp.__all__}
    checked = set()
    for kind in classes():
        if kind not in public and kind not in (SecretMaterial, SessionKey, Packet):
            continue
        thing = _filled_with(kind, secret)
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            text = texts_of(thing)
            checked.add(kind)
            assert not shown(needles, text), (
                f"{kind.__qualname__} shows what it holds: hide it from repr"
            )
    assert {SessionKey, Packet, openpgp.Decrypted, openpgp.NewKey} <= checked


def _filled_with(kind: Any, secret: bytes) -> object:
    """One with the secret wherever octets belong; where the types are not said, everywhere."""
    said = {name: "bytes" in str(of) for name, of in inspect.get_annotations(kind).items()}
    if issubclass(kind, tuple):
        return kind(*(secret if octets else 0 for octets in said.values()))
    if issubclass(kind, int | str):
        return next(iter(kind))
    made = object.__new__(kind)
    for name in (n for k in kind.__mro__ for n in getattr(k, "__slots__", ())):
        with contextlib.suppress(AttributeError, TypeError):
            object.__setattr__(made, name, secret if said.get(name, True) else ())
    return made


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + repr(record.__dict__))


@pytest.fixture
def heard() -> Iterator[list[str]]:
    handler, root = Heard(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(level)


def texts_of_error(error: BaseException) -> str:
    """Its text, its traceback and those of what it came from, even where that is not to be shown."""
    found = [*traceback.format_exception(error), repr(error.args)]
    found.append(repr(pickle.dumps(error)))
    cause = error.__cause__ or error.__context__
    if cause is not None:
        found.append(texts_of_error(cause) if cause is not error else "")
    return "\n".join(found)


def spoilt(body: bytes, chance: random.Random) -> Iterator[bytes]:
    """A secret key packet cut, lengthened, and changed where its secret numbers stand."""
    secret_at = len(PublicKey.read_prefix(body)[0].body)
    yield body[:-1]
    yield body + b"\0"
    yield body[: secret_at + 1]
    for _ in range(12):
        at = chance.randrange(secret_at, len(body))
        changed = bytearray(body)
        changed[at] ^= 1 << chance.randrange(8)
        yield bytes(changed)
    # the checksum made right again over wrong numbers: then the primitives refuse them
    if body[0] == 4 and body[secret_at] == 0:
        fields = bytearray(body[secret_at + 1 : -2])
        fields[-1] ^= 1
        check = (sum(fields) & 0xFFFF).to_bytes(2, "big")
        yield body[: secret_at + 1] + bytes(fields) + check


def test_no_exception_and_no_log_line_shows_a_secret(
    keys: list[SecretKey], needles: frozenset[str], heard: list[str]
) -> None:
    raised: list[BaseException] = []

    def attempt(work: object, *arguments: object) -> None:
        try:
            assert callable(work)
            work(*arguments)
        except OpenPGPError as error:
            raised.append(error)

    chance = random.Random(7)
    for key in keys:
        certificate = key.certificate
        mail = encrypt(TEXT, [certificate], now=lambda: BIRTH + 1)
        wrapped = next(p for p in read_packets(_binary(mail)) if p.tag == Tag.PKESK)
        for tag, body in read_packets(key.to_bytes()):
            if tag not in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY):
                continue
            for broken in spoilt(body, chance):
                attempt(read_secret, tag, broken, None)
                attempt(read_secret_keys, packet(Tag.SECRET_KEY, broken))
                attempt(read_certificates, packet(Tag.SECRET_KEY, broken))
                attempt(_use, broken, tag, wrapped.body)
    locked = keys[0].to_bytes(PHRASE)
    for wrong in (None, "wrong", PHRASE + "!", PHRASE.upper(), PHRASE + "\ud800"):
        attempt(read_secret_keys, locked, wrong)
    attempt(change_passphrase, locked, PHRASE.upper(), PHRASE)
    attempt(change_passphrase, locked, PHRASE, "")
    attempt(apply_revocation, keys[0].certificate, keys[0].armored())
    attempt(Certificate.from_bytes, keys[0].to_bytes() * 2)
    attempt(SecretKey.from_bytes, keys[0].to_bytes() * 2)
    attempt(
        sign_detached,
        TEXT,
        keys[0],
    )
    attempt(decrypt, keys[0].to_bytes(), keys)
    attempt(decrypt, TEXT, keys)
    attempt(generate, PHRASE)

    assert len(raised) > 100
    kinds = {type(error).__name__ for error in raised}
    assert {"WrongPassphrase", "Malformed"} <= kinds
    for error in raised:
        found = shown(needles, texts_of_error(error))
        assert not found, (type(error), found)
    assert not shown(needles, "\n".join(heard))


def _binary(message: bytes) -> bytes:
    return openpgp.armor.dearmor(message)


def _use(body: bytes, tag: int, wrapped: bytes) -> None:
    """Signs and decrypts with a spoilt secret, as far as it is read at all."""
    secret = read_secret(tag, body, None)
    with contextlib.suppress(OpenPGPError):
        secret.sign(10, bytes(64))
    secret.sign(10, bytes(64))
    unwrap(read_wrapped_key(wrapped), secret)
