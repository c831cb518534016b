"""Captured ciphertext, hidden in a harmless mail so that an answer quotes it (covert content attacks)."""

from __future__ import annotations

from leap.keymanager.openpgp.armor import dearmor
from tests.mail.incoming.attacks.building import (
    armored_part,
    attached,
    block,
    container,
    encrypted,
    html,
    mail,
    message,
    multipart,
    text,
)
from tests.mail.incoming.attacks.people import EVE

SECRET = text("SECRET words to Bob.")
QUESTION = text("QUESTION: when do we meet? Please answer.")


def captured_part_inside_the_encryption() -> bytes:
    return mail(encrypted(multipart("mixed", [QUESTION, encrypted(SECRET)]), "eve"), sender=EVE)


def captured_part_inside_the_encryption_for_carol() -> bytes:
    inner = encrypted(SECRET, to=("carol",))
    return mail(encrypted(multipart("mixed", [QUESTION, inner]), "eve"), sender=EVE)


def captured_part_as_an_attachment() -> bytes:
    captured = container(message(SECRET), extra=b"Content-Disposition: attachment\r\n")
    return mail(multipart("mixed", [QUESTION, captured]), sender=EVE)


def captured_file_in_armor() -> bytes:
    file = armored_part(message(b"SECRET words to Bob.\r\n"))
    return mail(multipart("mixed", [QUESTION, file]), sender=EVE)


def captured_text_in_a_second_text_part() -> bytes:
    second = text(message(b"SECRET words to Bob.\r\n"))
    return mail(multipart("mixed", [QUESTION, second]), sender=EVE)


def captured_text_inside_the_encryption() -> bytes:
    second = text(message(b"SECRET words to Bob.\r\n"))
    return mail(encrypted(multipart("mixed", [QUESTION, second]), "eve"), sender=EVE)


def external_body_inside_the_encryption() -> bytes:
    elsewhere = (
        b'Content-Type: message/external-body; access-type=URL; URL="http://eve.test/seen"\r\n\r\n'
        b"Content-Type: text/plain\r\n\r\n"
    )
    return mail(encrypted(multipart("mixed", [SECRET, elsewhere])))


def captured_mail_of_another_attached() -> bytes:
    old = mail(encrypted(SECRET), sender=EVE)
    return mail(encrypted(multipart("mixed", [QUESTION, attached(old)]), "eve"), sender=EVE)


def two_mails_to_two_people() -> bytes:
    mine, other = encrypted(QUESTION, "eve"), encrypted(SECRET, to=("carol",))
    return mail(multipart("mixed", [mine, other]), sender=EVE)


def captured_in_html_of_no_height() -> bytes:
    hidden = html(b'<p>QUESTION: when?</p><div style="height:0"><pre>\r\n' + message(SECRET))
    return mail(hidden, sender=EVE)


def block_with_armor_headers_of_a_mail() -> bytes:
    packets = dearmor(message(b"SECRET words to Bob.\r\n"))
    return mail(
        text(b"QUESTION: when?\r\n" + block(packets, b"Comment: From alice\r\n")), sender=EVE
    )
