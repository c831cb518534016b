"""What an answer to the mail would quote, or to whom it would go."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    cleartext,
    container,
    encrypted,
    html,
    mail,
    message,
    multipart,
    ours,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, BOB, EVE

SECRET = text("SECRET words to Bob.")
OUTER = [("From", ALICE), ("To", BOB), ("Subject", "[...]")]


def ciphertext_below_a_page_of_empty_lines() -> bytes:
    question = b"QUESTION: when do we meet?\r\n" + b"\r\n" * 200
    return mail(multipart("mixed", [text(question), encrypted(SECRET)]), sender=EVE)


def ciphertext_below_a_page_of_empty_lines_in_one_text() -> bytes:
    question = b"QUESTION: when do we meet?\r\n" + b"\r\n" * 200
    return mail(text(question + message(b"SECRET words to Bob.\r\n")), sender=EVE)


def ciphertext_quoted_in_an_answer() -> bytes:
    quoted = b"".join(
        b"> " + line + b"\r\n" for line in message(b"SECRET words.\r\n").split(b"\r\n")
    )
    return mail(text(b"QUESTION: what was this?\r\n\r\n" + quoted), sender=EVE)


def ciphertext_in_hidden_alternative() -> bytes:
    page = html("<p>QUESTION: when?</p>")
    hidden = multipart("related", [html("<style>*{display:none}</style>"), encrypted(SECRET)])
    return mail(multipart("alternative", [text("QUESTION: when?"), page, hidden]), sender=EVE)


def reply_to_added_to_a_protected_mail() -> bytes:
    added = f"Reply-To: {EVE}\r\nCc: {EVE}\r\nMail-Followup-To: {EVE}\r\n".encode()
    submitted = mail(SECRET)
    return mail(ours(submitted, OUTER, "alice"), subject="[...]", extra=added)


def receipt_asked_for_on_the_way() -> bytes:
    added = f"Disposition-Notification-To: {EVE}\r\nReturn-Receipt-To: {EVE}\r\n".encode()
    entity = b'Content-Type: text/plain; charset=utf-8; hp="cipher"\r\n'
    entity += (
        f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: Inside\r\nHP-Outer: From: {ALICE}\r\n".encode()
    )
    entity += (
        f"HP-Outer: To: {BOB}\r\nHP-Outer: Subject: [...]\r\n\r\nSECRET words to Bob.\r\n".encode()
    )
    return mail(container(message(entity, "alice")), subject="[...]", extra=added)


def signed_text_above_ciphertext() -> bytes:
    body = cleartext(b"QUESTION: when do we meet?\r\n", "eve") + b"\r\n"
    return mail(text(body + message(b"SECRET words to Bob.\r\n")), sender=EVE)


def two_ciphertexts_in_one_text() -> bytes:
    mine = message(b"QUESTION: when do we meet?\r\n", "eve")
    return mail(text(mine + b"\r\n" + message(b"SECRET words to Bob.\r\n")), sender=EVE)
