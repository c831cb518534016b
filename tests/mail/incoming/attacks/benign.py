"""Honest mail as programs, lists and servers make it: what is good must be called good."""

from __future__ import annotations

import base64

from tests.mail.incoming.attacks.building import (
    CONTROL_PART,
    DATE,
    armored_part,
    attached,
    cleartext,
    container,
    content,
    encrypted,
    html,
    mail,
    message,
    multipart,
    ours,
    packed,
    sealed,
    signed,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, BOB, EVE, GRACE, IVAN

NOTE = text("HONEST words.")
LIST = b"List-Id: Friends <friends.lists.test>\r\nSender: friends-bounces@lists.test\r\n"
FOOTER = text("FOOTER of the list: http://lists.test/unsubscribe\r\n")


def from_leap_mail() -> bytes:
    outer = [("From", ALICE), ("To", BOB), ("Subject", "[...]"), ("Date", DATE)]
    submitted = mail(NOTE, subject="The real subject")
    return mail(ours(submitted, outer, "alice"), subject="[...]")


def from_gnupg_packed() -> bytes:
    return mail(container(sealed(packed(content(NOTE, "grace")))), sender=GRACE)


def signed_in_clear() -> bytes:
    return mail(signed(NOTE, "grace"), sender=f"Grace <{GRACE}>")


def signed_with_a_mail_attached() -> bytes:
    inner = multipart("mixed", [NOTE, attached(mail(text("Attached words."), sender=EVE))])
    return mail(signed(inner, "alice"))


def encrypted_alone() -> bytes:
    return mail(encrypted(NOTE))


def signed_then_encrypted_as_apple_mail_does() -> bytes:
    return mail(encrypted(signed(NOTE)))


def mangled_by_exchange() -> bytes:
    control = CONTROL_PART.replace(b"\r\n\r\n", b"; name=ATT00001\r\n\r\n", 1)
    parts = [text(b"\r\n"), control, armored_part(message(NOTE, "alice"))]
    return mail(multipart("mixed", parts), extra=b"X-MS-Has-Attach: yes\r\n")


def mangled_by_exchange_into_base64() -> bytes:
    coded = base64.encodebytes(message(NOTE, "alice")).replace(b"\n", b"\r\n")
    control = (
        b"Content-Type: application/pgp-encrypted; name=ATT00001\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nVmVyc2lvbjogMQ0K\r\n"
    )
    second = b'Content-Type: application/octet-stream; name="encrypted.asc"\r\n'
    second += b"Content-Transfer-Encoding: base64\r\n\r\n" + coded
    return mail(multipart("mixed", [control, second]))


def signed_through_a_list_with_a_footer() -> bytes:
    return mail(multipart("mixed", [signed(NOTE, "grace"), FOOTER]), sender=GRACE, extra=LIST)


def encrypted_through_a_list_with_a_footer() -> bytes:
    return mail(multipart("mixed", [encrypted(NOTE, "grace"), FOOTER]), sender=GRACE, extra=LIST)


def from_the_tag_of_alice() -> bytes:
    return mail(signed(NOTE), sender="Alice <alice+shop@example.test>")


def whose_name_is_its_own_address() -> bytes:
    return mail(encrypted(NOTE, "alice"), sender=f'"{ALICE}" <{ALICE}>')


def from_an_address_in_cyrillic_letters() -> bytes:
    name = "\u0418\u0432\u0430\u043d"
    return mail(encrypted(NOTE, "ivan"), sender=f"From: {name} <{IVAN}>\r\n".encode())


def whose_name_has_a_title_and_a_company() -> bytes:
    return mail(signed(NOTE), sender=f'"Dr. Alice O\'Neill (Example, Inc.) via phone" <{ALICE}>')


def address_in_capitals() -> bytes:
    return mail(signed(NOTE), sender="Alice <Alice@EXAMPLE.test>")


def protected_header_of_the_old_form() -> bytes:
    entity = (
        'Content-Type: multipart/mixed; protected-headers="v1"; boundary="old"\r\n'
        f"From: Alice <{ALICE}>\r\nTo: {BOB}\r\nSubject: The real subject\r\n\r\n"
        '--old\r\nContent-Type: text/plain; protected-headers="v1"\r\n'
        "Content-Disposition: inline\r\n\r\nSubject: The real subject\r\n\r\n"
        "--old\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHONEST words.\r\n\r\n--old--\r\n"
    ).encode()
    return mail(container(message(entity, "alice")), sender=f"Alice <{ALICE}>", subject="...")


def protected_header_of_rfc_9788() -> bytes:
    entity = (
        f'Content-Type: text/plain; charset=utf-8; hp="cipher"\r\nFrom: {ALICE}\r\nTo: {BOB}\r\n'
        f"Subject: The real subject\r\nDate: {DATE}\r\nHP-Outer: From: {ALICE}\r\n"
        f"HP-Outer: To: {BOB}\r\nHP-Outer: Subject: [...]\r\nHP-Outer: Date: {DATE}\r\n\r\n"
        "HONEST words.\r\n"
    ).encode()
    return mail(container(message(entity, "alice")), subject="[...]")


def inline_signed_text_alone() -> bytes:
    return mail(text(cleartext(b"HONEST words.\r\n\r\n- a list\r\n-- \r\nAlice\r\n")))


def inline_encrypted_text_alone() -> bytes:
    return mail(text(message(b"HONEST words.\r\n", "alice")))


def html_with_alternatives() -> bytes:
    both = multipart("alternative", [NOTE, html("<p>HONEST words.</p>")])
    return mail(encrypted(both, "alice"))


def signed_alternatives() -> bytes:
    return mail(signed(multipart("alternative", [NOTE, html("<p>HONEST words.</p>")])))
