"""Layers in layers, and mail of which only a part is signed."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    attached,
    encrypted,
    html,
    mail,
    multipart,
    signature,
    signed,
    signed_by,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, EVE

GENUINE = text("GENUINE words of Alice.")
ADDED = text("ADDED: pay to another account.")


def partly_signed_inside_the_encryption() -> bytes:
    return mail(encrypted(multipart("mixed", [ADDED, signed(GENUINE)])))


def signed_text_among_unsigned_alternatives() -> bytes:
    added = html("<p>ADDED: pay to another account.</p>")
    return mail(multipart("alternative", [signed(GENUINE), added]))


def signed_by_eve_around_signed_by_alice() -> bytes:
    return mail(signed(signed(GENUINE), "eve"))


def signed_by_eve_around_signed_by_alice_and_more() -> bytes:
    return mail(signed(multipart("mixed", [ADDED, signed(GENUINE)]), "eve"), sender=EVE)


def signed_mail_of_alice_attached_to_a_mail_of_eve() -> bytes:
    old = mail(signed(GENUINE))
    return mail(multipart("mixed", [text("ADDED by Eve."), attached(old)]), sender=EVE)


def signed_mail_of_alice_attached_with_another_from() -> bytes:
    old = mail(signed(GENUINE), sender=EVE)
    return mail(multipart("mixed", [text("ADDED by Eve."), attached(old)]))


def mail_of_alice_attached_to_a_signed_mail_of_eve() -> bytes:
    old = mail(text("I agree to everything."))
    inner = multipart("mixed", [text("WORDS of Eve."), attached(old)])
    return mail(signed(inner, "eve"), sender=EVE)


def signature_over_another_part() -> bytes:
    good = signature(GENUINE, "alice")
    return mail(multipart("mixed", [signed_by(ADDED, good), signed_by(GENUINE, good)]))


def encrypted_in_encrypted_signed_outside_only() -> bytes:
    return mail(encrypted(encrypted(GENUINE), "alice"))


def encrypted_in_encrypted_signed_inside_only() -> bytes:
    return mail(encrypted(encrypted(GENUINE, "alice")))


def signed_part_with_a_prologue_as_a_mail() -> bytes:
    # the wrapper is a mail whose one part is a mail; only the inner one is signed
    old = mail(signed(GENUINE), sender=ALICE)
    return mail(attached(old), sender=EVE)
