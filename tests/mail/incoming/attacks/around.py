"""Text before, after and around what is signed or encrypted."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    armored_part,
    container,
    container_of,
    encrypted,
    html,
    mail,
    message,
    multipart,
    signature,
    signed,
    signed_by,
    text,
)
from tests.mail.incoming.attacks.people import EVE

GENUINE = text("GENUINE words of Alice.")
ADDED = text("ADDED: pay to another account.")


def signed_with_a_footer() -> bytes:
    return mail(multipart("mixed", [signed(GENUINE), ADDED]))


def signed_below_a_heading() -> bytes:
    return mail(multipart("mixed", [ADDED, signed(GENUINE)]))


def signed_below_html_that_hides_it() -> bytes:
    open_comment = html("<p>ADDED: pay to another account.</p><div style='display:none'><!--")
    return mail(multipart("mixed", [open_comment, signed(GENUINE)]))


def signed_with_a_third_part() -> bytes:
    return mail(signed_by(GENUINE, signature(GENUINE, "alice"), more=[ADDED]))


def signed_part_is_an_attachment() -> bytes:
    entity = text("GENUINE words of Alice.", extra=b"Content-Disposition: attachment\r\n")
    return mail(multipart("mixed", [ADDED, signed(entity)]))


def encrypted_with_a_preamble_and_an_epilogue() -> bytes:
    armored = message(GENUINE, "alice")
    added = b"ADDED: pay to another account.\r\n"
    return mail(container(armored, preamble=added, epilogue=added))


def encrypted_with_a_footer() -> bytes:
    return mail(multipart("mixed", [encrypted(GENUINE, "alice"), ADDED]))


def encrypted_with_a_third_part() -> bytes:
    armored = message(GENUINE, "alice")
    return mail(container_of([armored_part(armored), ADDED]))


def encrypted_with_text_before_the_armor() -> bytes:
    armored = b"ADDED: pay to another account.\r\n\r\n" + message(GENUINE, "alice")
    return mail(container(armored))


def encrypted_with_two_messages() -> bytes:
    other = message(text("ADDED: pay to another account."), "eve")
    return mail(container(message(GENUINE, "alice") + other))


def encrypted_with_text_after_the_armor() -> bytes:
    return mail(container(message(GENUINE, "alice") + b"\r\nADDED: pay to another account.\r\n"))


def wrapped_as_a_part_of_a_mail_of_eve() -> bytes:
    return mail(
        multipart("mixed", [text("ADDED by Eve."), encrypted(GENUINE, "alice")]), sender=EVE
    )
