"""Inline PGP: armored blocks in texts, where nothing says what stands around them."""

from __future__ import annotations

import quopri

from leap.keymanager.openpgp.armor import dearmor
from tests.mail.incoming.attacks.building import block, cleartext, html, mail, message, text
from tests.mail.incoming.attacks.people import EVE

GENUINE = b"GENUINE words of Alice.\r\n"
ADDED = b"ADDED: pay to another account.\r\n"


def signed_below_other_text() -> bytes:
    return mail(text(ADDED + b"\r\n" + cleartext(GENUINE)))


def signed_above_other_text() -> bytes:
    return mail(text(cleartext(GENUINE) + b"\r\n" + ADDED))


def signed_with_text_among_its_armor_headers() -> bytes:
    headers = b"Hash: SHA512\r\nComment: ADDED: pay to another account.\r\n"
    return mail(text(cleartext(GENUINE, headers=headers)))


def signed_with_text_in_the_hash_line() -> bytes:
    return mail(text(cleartext(GENUINE, headers=b"Hash: ADDED pay to another account\r\n")))


def signed_with_text_behind_a_blank_armor_header() -> bytes:
    body = cleartext(GENUINE).replace(b"\r\n\r\n", b"\r\n \t\r\n" + ADDED + b"\r\n", 1)
    return mail(text(body))


def two_signed_texts_of_two_people() -> bytes:
    return mail(text(cleartext(GENUINE) + b"\r\n" + cleartext(b"WORDS of Eve.\r\n", "eve")))


def signed_text_within_another_block() -> bytes:
    inner = cleartext(GENUINE)
    outer = b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n" + ADDED + inner
    return mail(text(outer))


def signed_in_html() -> bytes:
    return mail(
        html(b"<pre>\r\n" + cleartext(GENUINE) + b"</pre><p>ADDED: pay to another account.</p>")
    )


def signed_by_eve_with_from_alice() -> bytes:
    return mail(text(cleartext(b"WORDS of Eve.\r\n", "eve")))


def signed_and_changed() -> bytes:
    return mail(text(cleartext(GENUINE).replace(b"GENUINE", b"CHANGED")))


def encrypted_below_other_text() -> bytes:
    return mail(text(ADDED + b"\r\n" + message(b"SECRET words to Bob.\r\n", "alice")))


def encrypted_in_html() -> bytes:
    page = b"<img src='http://eve.test/\r\n" + message(b"SECRET words to Bob.\r\n") + b"'>"
    return mail(html(page), sender=EVE)


def encrypted_with_a_charset_of_the_armor() -> bytes:
    packets = dearmor(message(b"SECRET +ADw-b+AD4- words\r\n"))
    return mail(text(block(packets, b"Charset: utf-7\r\n")))


def encrypted_that_is_a_mail_with_its_header() -> bytes:
    inner = b"Content-Type: text/html\r\nFrom: alice@example.test\r\n\r\n<b>SECRET</b> words\r\n"
    return mail(text(message(inner)), sender=EVE)


def signed_and_shown_in_another_charset() -> bytes:
    # what alice signed is "GENUINE +...-"; as UTF-7 the same octets say something else
    signed = cleartext(b"GENUINE words, 1 +AAo-ADDED+ACE- 2\r\n")
    return mail(text(signed, "text/plain; charset=utf-7"))


def signed_in_ebcdic() -> bytes:
    return mail(text(cleartext(GENUINE), "text/plain; charset=cp037"))


def encrypted_and_shown_in_another_charset() -> bytes:
    secret = message(b"SECRET +ADw-b+AD4- words\r\n")
    return mail(text(secret, "text/plain; charset=utf-7"))


def signed_with_text_among_the_headers_of_its_signature() -> bytes:
    block = cleartext(GENUINE)
    begin = b"-----BEGIN PGP SIGNATURE-----\r\n"
    return mail(text(block.replace(begin, begin + b"Comment: ADDED: pay to another account.\r\n")))


def signed_with_dashes_that_were_not_signed() -> bytes:
    body = cleartext(GENUINE).replace(b"GENUINE", b"- ADDED: pay to another account.\r\nGENUINE")
    return mail(text(body))


def signed_and_said_to_be_another_type() -> bytes:
    return mail(
        text(cleartext(b"GENUINE <b>words</b> of Alice.\r\n"), "text/x-html; charset=utf-8")
    )


def signed_in_two_encodings() -> bytes:
    body = quopri.encodestring(ADDED + cleartext(GENUINE)).replace(b"\r\n", b"\n")
    quoted = body.replace(b"\n", b"\r\n")
    return mail(text(quoted, extra=b"Content-Transfer-Encoding: quoted-printable\r\n"))
