"""Header fields inside that say something else than those outside (RFC 9788, and protected-headers="v1")."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    container,
    mail,
    message,
    multipart,
    ours,
    signed,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, BOB, CAROL, EVE

LIST = "list@lists.test"


def _entity(fields: str, parameter: str = 'hp="cipher"') -> bytes:
    head = f"Content-Type: text/plain; charset=utf-8; {parameter}\r\n"
    hidden = "HP-Outer: Subject: [...]\r\n" if "cipher" in parameter else ""
    return f"{head}{fields}{hidden}\r\nINSIDE words.\r\n".encode()


def from_of_alice_that_nobody_signed() -> bytes:
    entity = _entity(f"From: {ALICE}\r\nSubject: Inside\r\n")
    return mail(container(message(entity)), sender=EVE, subject="[...]")


def from_of_alice_signed_by_eve() -> bytes:
    entity = _entity(f"From: {ALICE}\r\nSubject: Inside\r\n")
    return mail(container(message(entity, "eve")), sender=EVE, subject="[...]")


def from_of_alice_signed_by_alice_through_a_list() -> bytes:
    fields = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: Inside\r\nHP-Outer: From: {ALICE}\r\n"
    entity = _entity(fields + f"HP-Outer: To: {BOB}\r\n")
    return mail(container(message(entity, "alice")), sender=LIST, subject="[...]")


def subject_changed_on_the_way() -> bytes:
    fields = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: Inside\r\nHP-Outer: From: {ALICE}\r\n"
    entity = _entity(fields + f"HP-Outer: To: {BOB}\r\n")
    return mail(container(message(entity, "alice")), subject="URGENT: call this number")


def recipient_changed_on_the_way() -> bytes:
    submitted = mail(text("INSIDE words."), to=CAROL)
    outer = [("From", ALICE), ("To", CAROL), ("Subject", "[...]")]
    return mail(ours(submitted, outer, "alice"), subject="[...]")


def subject_of_a_signed_mail_changed_on_the_way() -> bytes:
    entity = _entity(f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: Inside\r\n", 'hp="clear"')
    return mail(signed(entity), subject="URGENT: call this number")


def subject_of_the_old_form_changed_on_the_way() -> bytes:
    entity = _entity(f"From: {ALICE}\r\nSubject: Inside\r\n", 'protected-headers="v1"')
    return mail(container(message(entity, "alice")), subject="URGENT: call this number")


def from_in_a_part_below_the_root() -> bytes:
    inner = multipart("mixed", [_entity(f"From: {ALICE}\r\nSubject: Inside\r\n")])
    return mail(container(message(inner, "eve")), sender=EVE)


def two_froms_inside() -> bytes:
    entity = _entity(f"From: {ALICE}\r\nFrom: {EVE}\r\nSubject: Inside\r\n")
    return mail(container(message(entity, "eve")), sender=EVE, subject="[...]")


def outer_fields_claimed_in_the_name_of_the_sender() -> bytes:
    fields = f"From: {ALICE}\r\nSubject: Inside\r\nHP-Outer: From: {EVE}\r\n"
    return mail(container(message(_entity(fields), "eve")), sender=EVE, subject="[...]")
