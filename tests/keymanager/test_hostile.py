"""Bytes from outside: changed, cut, bombs, nonsense. Only `OpenPGPError`, in bounded time and memory."""

from __future__ import annotations

import bz2
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import (
    IntegrityError,
    Malformed,
    NotEncrypted,
    OpenPGPError,
    SecretKey,
    TooLarge,
    Unsupported,
    decrypt,
    encrypt,
    generate,
    read_certificates,
    read_secret_keys,
    read_signatures,
    recipients_of,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import armor, armor_message, crc24, dearmor
from leap.keymanager.openpgp.contents import literal, read_contents
from leap.keymanager.openpgp.packets import (
    Cursor,
    Tag,
    length_octets,
    mpi,
    packet,
    read_packets,
)
from leap.keymanager.openpgp.seipd import open_container, seal_v1, seal_v2
from leap.keymanager.openpgp.session_key import SessionKey, wrap

from .conftest import BIRTH

Clock = Callable[[], float]
SESSION = SessionKey(9, bytes(range(32)))
TEXT = b"There is nothing to see here. " * 20


def sealed(content: bytes, key: SecretKey) -> bytes:
    """A message whose inside is exactly `content`."""
    recipient = key.decryption_keys()[0].public
    return wrap(SESSION, recipient) + seal_v1(content, SESSION)


# --- integrity -----------------------------------------------------------------------------------


def test_every_changed_octet_of_the_container_is_noticed(bob: SecretKey, now: Clock) -> None:
    modern = generate("x@example.test", now=lambda: BIRTH, version=6)
    for key in (bob, modern):
        message = encrypt(TEXT, [key.certificate], armor=False, now=now)
        [wrapped, container] = [p for p in read_packets(message) if p.tag in (1, 18)]
        head = packet(Tag.PKESK, wrapped.body)
        for at in range(1, len(container.body), 7):
            changed = bytearray(container.body)
            changed[at] ^= 0x80
            with pytest.raises((IntegrityError, Unsupported, Malformed, OpenPGPError)) as caught:
                decrypt(head + packet(Tag.SEIPD, bytes(changed)), [key])
            if at > 4:
                assert caught.type is IntegrityError
        for end in (len(container.body) - 1, len(container.body) // 2, 60):
            with pytest.raises((IntegrityError, Malformed)):
                decrypt(head + packet(Tag.SEIPD, container.body[:end]), [key])


def test_containers_without_their_protection_are_refused(bob: SecretKey) -> None:
    recipient = bob.decryption_keys()[0].public
    from leap.keymanager.openpgp import algorithms

    inside = b"\0" * 18 + literal(TEXT)
    encryptor = algorithms.cfb(9, SESSION.key, bytes(16)).encryptor()
    without_mdc = encryptor.update(inside) + encryptor.finalize()
    with pytest.raises(IntegrityError):
        decrypt(wrap(SESSION, recipient) + packet(Tag.SEIPD, b"\x01", without_mdc), [bob])
    with pytest.raises(IntegrityError, match="without protection"):
        decrypt(wrap(SESSION, recipient) + packet(Tag.SED, without_mdc), [bob])
    with pytest.raises(IntegrityError, match="without protection"):
        recipients_of(wrap(SESSION, recipient) + packet(Tag.SED, without_mdc))


def test_chunks_cannot_be_cut_off_swapped_or_repeated() -> None:
    session = SessionKey(None, bytes(32))
    body = next(read_packets(seal_v2(bytes(200_000), session))).body
    step = 65_536 + 16
    head, rest = body[:36], body[36:]
    chunks = [rest[:step], rest[step : 2 * step], rest[2 * step :]]
    assert open_container(head + b"".join(chunks), session) == bytes(200_000)
    for wrong in (
        [chunks[1], chunks[0], chunks[2]],
        [chunks[0], chunks[2]],
        [chunks[0], chunks[0], chunks[1], chunks[2]],
        [chunks[0], chunks[1]],
        [chunks[0], chunks[1][:-16]],
    ):
        with pytest.raises(IntegrityError):
            open_container(head + b"".join(wrong), session)


def test_what_follows_the_message_is_refused(bob: SecretKey, now: Clock) -> None:
    message = encrypt(TEXT, [bob.certificate], armor=False, now=now)
    for extra in (literal(b"x"), message):
        with pytest.raises(Malformed):
            decrypt(message + extra, [bob])


def test_two_contents_in_one_message_are_refused(bob: SecretKey) -> None:
    packed = packet(Tag.COMPRESSED, b"\x02", zlib.compress(literal(b"one")))
    for inside in (literal(b"one") + literal(b"two"), packed + literal(b"two"), b""):
        with pytest.raises(Malformed):
            decrypt(sealed(inside, bob), [bob])


def test_encrypted_twice_is_said_so(bob: SecretKey) -> None:
    with pytest.raises(Unsupported, match="twice"):
        decrypt(sealed(sealed(literal(b"x"), bob), bob), [bob])


# --- bombs ---------------------------------------------------------------------------------------


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_decompression_bombs_stop_at_the_limit(bob: SecretKey, kind: int) -> None:
    bomb = literal(bytes(40_000_000))
    pack = {1: _deflate, 2: zlib.compress, 3: bz2.compress}[kind]
    message = sealed(packet(Tag.COMPRESSED, bytes([kind]), pack(bomb)), bob)
    assert len(message) < 100_000
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decrypt(message, [bob], max_size=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert len(decrypt(message, [bob], max_size=40_000_000).plaintext) == 40_000_000


def test_nested_compression_ends(bob: SecretKey) -> None:
    inside = literal(b"x")
    for _ in range(4):
        inside = packet(Tag.COMPRESSED, b"\x02", zlib.compress(inside))
    assert decrypt(sealed(inside, bob), [bob]).plaintext == b"x"
    with pytest.raises(Malformed, match="layers"):
        decrypt(sealed(packet(Tag.COMPRESSED, b"\x02", zlib.compress(inside)), bob), [bob])


def test_damaged_compression_is_malformed(bob: SecretKey) -> None:
    for kind, data in (
        (1, b"\xff\xff"),
        (2, zlib.compress(literal(b"x"))[:-9]),
        (3, b"BZh9x"),
        (9, b""),
    ):
        with pytest.raises((Malformed, Unsupported)):
            decrypt(sealed(packet(Tag.COMPRESSED, bytes([kind]), data), bob), [bob])


def test_the_limit_counts_plain_content_too(bob: SecretKey) -> None:
    with pytest.raises(TooLarge):
        decrypt(sealed(literal(bytes(1001)), bob), [bob], max_size=1000)


def test_floods_of_packets_and_recipients_end_soon(bob: SecretKey, now: Clock) -> None:
    hidden = wrap(SESSION, bob.decryption_keys()[0].public, hidden=True)
    strangers = generate("x@example.test").decryption_keys()[0].public
    other = wrap(SESSION, strangers, hidden=True)
    good = other * 200 + hidden + seal_v1(literal(b"x"), SESSION)
    assert decrypt(good, [bob]).plaintext == b"x"
    with pytest.raises(TooLarge):
        decrypt(other * 2000 + seal_v1(literal(b"x"), SESSION), [bob])
    with pytest.raises(TooLarge):
        read_certificates(bob.certificate.binary + packet(Tag.TRUST, b"") * 30_000)
    signature = dearmor(sign_detached(b"x", bob, now=now))
    with pytest.raises(TooLarge):
        read_signatures(signature * 100)
    with pytest.raises(TooLarge):
        read_contents(literal(b"x") + signature * 100, max_size=10)


def test_tiny_partial_lengths_are_refused_fast() -> None:
    pieces = bytes([0xC0 | Tag.SEIPD]) + b"\xe0x" * 1_000_000 + b"\0"
    before = time.perf_counter()
    with pytest.raises(Malformed):
        list(read_packets(pieces))
    assert time.perf_counter() - before < 2


# --- framing -------------------------------------------------------------------------------------


def test_both_header_formats_and_partial_lengths() -> None:
    body = bytes(range(256)) * 4
    old = b"\xad" + len(body).to_bytes(2, "big") + body
    indeterminate = b"\xaf" + body
    partial = b"\xcb\xe9" + body[:512] + b"\xe8" + body[512:768] + b"\xc0\x40" + body[768:]
    for data in (packet(11, body), old, indeterminate, partial):
        assert list(read_packets(data)) == [(11, body)]
    with pytest.raises(Malformed):  # partial lengths are for data packets alone
        list(read_packets(b"\xc2" + partial[1:]))
    with pytest.raises(Malformed):
        list(read_packets(b"\x8b" + body))


@given(st.integers(0, 2**32 - 1))
def test_lengths_come_back(length: int) -> None:
    from leap.keymanager.openpgp.packets import _new_format_length

    encoded = length_octets(length)
    assert _new_format_length(encoded, 0) == (length, len(encoded), False)


@given(st.binary(max_size=80))
def test_numbers_come_back(octets: bytes) -> None:
    assert Cursor(mpi(octets)).mpi() == octets.lstrip(b"\0")


@given(st.binary(max_size=300))
def test_armor_comes_back(data: bytes) -> None:
    for text in (armor(data, "MESSAGE"), armor(data, "MESSAGE", checksum=True)):
        for shape in (text, text.replace(b"\n", b"\r\n"), b"Hello,\n\n" + text + b"\nbye"):
            assert dearmor(shape) == data
    assert dearmor(armor_message(data)).endswith(data)


def test_the_checksum_is_the_standards() -> None:
    assert crc24(b"123456789") == 0x21CF02


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_octets_give_packets_or_our_error(data: bytes) -> None:
    for read in (dearmor, read_certificates, read_secret_keys, read_signatures, recipients_of):
        try:
            read(data)
        except OpenPGPError:
            pass
    try:
        list(read_packets(data))
        read_contents(data, max_size=1000)
    except OpenPGPError:
        pass


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([1, 2, 5, 6, 8, 11, 13, 14, 18]))
def test_any_packet_body_gives_our_error(body: bytes, tag: int) -> None:
    for data in (packet(tag, body), packet(tag, b"\x04" + body), packet(tag, b"\x06" + body)):
        for read in (read_certificates, read_secret_keys, read_signatures):
            try:
                read(data)
            except OpenPGPError:
                pass
        try:
            decrypt(data, [])
        except OpenPGPError:
            pass


# --- mutations -----------------------------------------------------------------------------------


def mutate(data: bytes, source: random.Random) -> bytes:
    """`data` with a few flips, a cut, a doubled or a dropped piece."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        at = source.randrange(len(changed) + 1)
        match source.randrange(6):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 2 if at < len(changed):
                changed[at] = source.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 3:
                changed[at:at] = source.randbytes(source.choice((1, 4, 40)))
            case 4:
                del changed[at : at + source.choice((1, 8, 60))]
            case _:
                del changed[at:]
    return bytes(changed)


def _subjects(alice: SecretKey, bob: SecretKey) -> list[tuple[bytes, Callable[[bytes], object]]]:
    modern = generate("x@example.test", now=lambda: BIRTH, version=6, post_quantum=True)
    keys = [bob, modern]
    at = lambda: BIRTH + 10.0  # noqa: E731
    certificates = [alice.certificate, modern.certificate]

    def open_message(data: bytes) -> object:
        opened = decrypt(data, keys, max_size=100_000)
        return verify_signatures(opened.plaintext, opened.signatures, certificates, now=at)

    def judge(data: bytes) -> object:
        return verify_detached(b"text", data, certificates, now=at)

    def read_key(data: bytes) -> object:
        for certificate in read_certificates(data):
            certificate.keys, certificate.user_ids, certificate.can_encrypt(BIRTH + 10)
            if certificate.fingerprint == alice.fingerprint:
                alice.certificate.merge(certificate)
        return None

    def read_own(data: bytes) -> object:
        for key in read_secret_keys(data, "x"):
            key.signing_key(BIRTH + 10).sign(10, bytes(64))
            decrypt(message, [key])
        return None

    message = encrypt(b"text" * 9, [bob.certificate], alice, armor=False, now=at)
    packed = sealed(packet(Tag.COMPRESSED, b"\x02", zlib.compress(literal(b"text" * 99))), bob)
    return [
        (message, open_message),
        (encrypt(b"text", [modern.certificate], modern, armor=False, now=at), open_message),
        (encrypt(b"text", [bob.certificate], alice, now=at), open_message),
        (packed, open_message),
        (dearmor(sign_detached(b"text", alice, now=at)), judge),
        (sign_detached(b"text", modern, now=at), judge),
        (alice.certificate.binary, read_key),
        (modern.certificate.armored(), read_key),
        (bob.to_bytes(), read_own),
        (modern.to_bytes(), read_own),
    ]


def _inner_subjects(alice: SecretKey) -> list[tuple[bytes, Callable[[bytes], object]]]:
    """Past the integrity check: what the sender itself may have made wrong on purpose."""
    packed = packet(Tag.COMPRESSED, b"\x01", _deflate(literal(b"text" * 99)))
    signed = literal(b"text") + dearmor(sign_detached(b"text", alice, now=lambda: BIRTH + 5.0))

    def read(data: bytes) -> object:
        from leap.keymanager.openpgp.verdict import RawSignature

        found = read_contents(data, max_size=100_000)
        signatures = [RawSignature(body) for body in found.signatures]
        return verify_signatures(found.data, signatures, [alice.certificate])

    return [(packed, read), (signed, read)]


def play_mutations(
    subjects: list[tuple[bytes, Callable[[bytes], object]]], count: int, seed: int
) -> tuple[dict[str, int], float]:
    """Reads `count` mutated subjects: (how often they were read or refused, seconds of the slowest).

    Whatever is not an OpenPGPError comes out.
    """
    source = random.Random(seed)
    outcomes = {"refused": 0, "read": 0}
    slowest = 0.0
    for index in range(count):
        data, read = subjects[index % len(subjects)]
        mutated = mutate(data, source)
        started = time.perf_counter()
        try:
            read(mutated)
            outcomes["read"] += 1
        except OpenPGPError:
            outcomes["refused"] += 1
        slowest = max(slowest, time.perf_counter() - started)
    return outcomes, slowest


def mutation_subjects(
    alice: SecretKey, bob: SecretKey
) -> list[tuple[bytes, Callable[[bytes], object]]]:
    """Everything that is mutated, with what reads it."""
    return _subjects(alice, bob) + _inner_subjects(alice)


def test_two_thousand_mutations_raise_only_our_errors(alice: SecretKey, bob: SecretKey) -> None:
    """A slice of the long run; the seed is fixed so that a failure can be had again."""
    outcomes, slowest = play_mutations(mutation_subjects(alice, bob), 2_000, seed=9580)
    print(f"2,000 mutations: {outcomes}, slowest {slowest * 1000:.1f} ms")
    assert outcomes["refused"] > 800
    assert slowest < 5  # a hang, not a speed: 31 ms is the slowest seen in 120,000


def test_a_changed_signed_text_is_never_called_good(alice: SecretKey, now: Clock) -> None:
    source = random.Random(4)
    signature = dearmor(sign_detached(TEXT, alice, now=now))
    for _ in range(300):
        changed = mutate(signature, source)
        try:
            verdicts = verify_detached(TEXT + b"x", changed, [alice.certificate], now=now)
        except OpenPGPError:
            continue
        assert all(verdict.state != "good" for verdict in verdicts)


def test_clear_text_where_a_message_is_expected(bob: SecretKey) -> None:
    for data in (b"", b"Hello", b"-----BEGIN PGP MESSAGE-----\n", b"\x00\x01"):
        with pytest.raises(OpenPGPError):
            decrypt(data, [bob])
    with pytest.raises(NotEncrypted):
        decrypt(literal(b"x"), [bob])
