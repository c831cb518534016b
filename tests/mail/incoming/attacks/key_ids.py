"""Signatures that name another key than made them, or none: ids are hints, and the key decides."""

from __future__ import annotations

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.packets import Cursor
from leap.keymanager.openpgp.signature import Subpacket, subpacket
from tests.mail.incoming.attacks.building import (
    container,
    content_signed,
    mail,
    sealed,
    signature,
    signed,
    signed_by,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, EVE, VICTOR, make_key
from tests.mail.travel import NOW

ORDER = text("Pay the bill today.")


def _with_unsigned(body: bytes, unsigned: bytes) -> bytes:
    """A signature with something else in the area that is not signed."""
    cursor = Cursor(body)
    cursor.take(4)
    cursor.take(cursor.number(2))
    head = body[: cursor.at]
    cursor.take(cursor.number(2))
    return head + len(unsigned).to_bytes(2, "big") + unsigned + cursor.rest()


def _fingerprint(name: str) -> bytes:
    key = make_key(name).certificate.primary
    return subpacket(Subpacket.ISSUER_FINGERPRINT, bytes([key.version]) + key.fingerprint)


def _key_id(name: str) -> bytes:
    return subpacket(Subpacket.ISSUER, make_key(name).certificate.primary.key_id)


def _with_no_name(signer: str, unsigned: bytes = b"") -> bytes:
    """A signature over the order which says signed nothing of who made it."""
    secret = make_key(signer).primary_secret()
    area = subpacket(Subpacket.CREATED, int(NOW).to_bytes(4, "big"), critical=True)
    head = bytes([4, 0, secret.public.algorithm, algorithms.SHA512])
    head += len(area).to_bytes(2, "big") + area
    running = algorithms.new_hash(algorithms.SHA512)
    running.update(ORDER + head + b"\x04\xff" + len(head).to_bytes(4, "big"))
    digest = running.digest()
    fields = secret.sign(algorithms.SHA512, digest)
    return head + len(unsigned).to_bytes(2, "big") + unsigned + digest[:2] + fields


def key_id_of_alice_and_no_fingerprint_by_eve() -> bytes:
    return mail(signed_by(ORDER, _with_no_name("eve", _key_id("alice"))))


def no_name_at_all_by_eve() -> bytes:
    return mail(signed_by(ORDER, _with_no_name("eve")))


def no_name_at_all_by_alice() -> bytes:
    return mail(signed_by(ORDER, _with_no_name("alice")))


def key_id_of_alice_on_a_signature_of_eve() -> bytes:
    return mail(signed_by(ORDER, _with_unsigned(signature(ORDER, "eve"), _key_id("alice"))))


def fingerprint_of_alice_on_a_signature_of_eve() -> bytes:
    made = signature(ORDER, "eve", says=[_fingerprint("alice")])
    return mail(signed_by(ORDER, _with_unsigned(made, _fingerprint("alice") + _key_id("alice"))))


def key_id_of_alice_inside_the_encryption() -> bytes:
    made = _with_unsigned(signature(ORDER, "mallory"), _key_id("alice"))
    return mail(container(sealed(content_signed(ORDER, ("alice", made)))))


def signing_subkey_without_a_signature_back() -> bytes:
    return mail(signed(ORDER, "alice"), sender=VICTOR)


def signature_of_alice_while_victor_has_her_key_as_subkey() -> bytes:
    return mail(signed(ORDER, "alice"))


def true_signature_over_another_text_beside_one_of_eve() -> bytes:
    other = text("I like your garden.")
    return mail(signed_by(ORDER, signature(other, "alice"), signature(ORDER, "eve")))


def one_pass_packet_of_alice_before_a_signature_of_eve() -> bytes:
    made = signature(ORDER, "eve")
    return mail(container(sealed(content_signed(ORDER, ("alice", made)))))


def ten_key_ids() -> bytes:
    names = ["alice", "bob", "carol", "dave", "frank", "grace", "victor", "mallory"]
    unsigned = b"".join(_key_id(name) for name in names)
    return mail(signed_by(ORDER, _with_unsigned(signature(ORDER, "eve"), unsigned)), sender=ALICE)


def signature_type_of_a_certification() -> bytes:
    return mail(signed_by(ORDER, signature(ORDER, "alice", kind=0x13)), sender=ALICE)


def eve_for_eve_beside_a_damaged_one() -> bytes:
    damaged = bytearray(signature(ORDER, "alice"))
    damaged[-1] ^= 1
    return mail(signed_by(ORDER, bytes(damaged), signature(ORDER, "eve")), sender=EVE)
