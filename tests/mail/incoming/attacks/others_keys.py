"""True signatures by keys of other people than the From."""

from __future__ import annotations

import base64

from tests.mail.incoming.attacks.building import encrypted, mail, multipart, ours, signed, text
from tests.mail.incoming.attacks.people import ALICE, BOB, CAROL, make_key

ORDER = text("Pay the bill today.")


def eve_whose_key_calls_itself_alice() -> bytes:
    return mail(signed(ORDER, "eve"))


def eve_inside_the_encryption() -> bytes:
    return mail(encrypted(ORDER, "eve"))


def unknown_key_that_calls_itself_alice() -> bytes:
    return mail(encrypted(ORDER, "mallory"))


def unknown_key_attached_to_the_mail() -> bytes:
    key = make_key("mallory").certificate.armored().replace(b"\n", b"\r\n")
    attached = b"Content-Type: application/pgp-keys; name=alice.asc\r\n\r\n" + key
    return mail(signed(multipart("mixed", [ORDER, attached]), "mallory"))


def unknown_key_in_an_autocrypt_field() -> bytes:
    keydata = base64.b64encode(make_key("mallory").certificate.binary)
    lines = b"".join(b" " + keydata[at : at + 72] + b"\r\n" for at in range(0, len(keydata), 72))
    field = b"Autocrypt: addr=alice@example.test; prefer-encrypt=mutual; keydata=\r\n" + lines
    return mail(signed(ORDER, "mallory"), extra=field)


def carol_as_a_tag_of_alice() -> bytes:
    return mail(signed(ORDER, "carol"), sender="alice+carol@example.test")


def carol_and_eve_for_alice() -> bytes:
    return mail(encrypted(ORDER, "carol", "eve"))


def alice_for_another_provider() -> bytes:
    return mail(signed(ORDER), sender="alice@elsewhere.test")


def bob_himself() -> bytes:
    return mail(encrypted(ORDER, "bob"))


def protected_from_of_alice_signed_by_carol() -> bytes:
    submitted = mail(ORDER, sender=ALICE)
    outer = [("From", ALICE), ("To", BOB), ("Subject", "[...]")]
    assert CAROL != ALICE
    return mail(ours(submitted, outer, "carol"), subject="[...]")
