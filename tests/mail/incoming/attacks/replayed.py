"""What alice once signed or encrypted, sent again by somebody else."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import (
    DATE,
    container,
    content_signed,
    encrypted,
    mail,
    ours,
    sealed,
    signature,
    signed,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, CAROL, EVE, YEAR
from tests.mail.travel import NOW

PROMISE = text("I will pay what you ask.")


def meant_for_carol() -> bytes:
    made = signature(PROMISE, "alice", for_people=["carol"])
    return mail(container(sealed(content_signed(PROMISE, ("alice", made)))))


def meant_for_carol_with_a_protected_header() -> bytes:
    submitted = mail(PROMISE, to=CAROL)
    outer = [("From", ALICE), ("To", CAROL), ("Subject", "[...]")]
    return mail(ours(submitted, outer, "alice", for_people=["carol"]), subject="[...]")


def meant_for_carol_who_is_named_in_the_protected_header_alone() -> bytes:
    submitted = mail(PROMISE, to=CAROL)
    outer = [("From", ALICE), ("To", CAROL), ("Subject", "[...]")]
    return mail(ours(submitted, outer, "alice", for_people=[]), subject="[...]")


def signed_in_clear_two_years_ago() -> bytes:
    return mail(signed(PROMISE, at=NOW - 2 * YEAR + 10), subject="Re: the price of my house")


def signed_two_years_ago_in_a_mail_without_a_date() -> bytes:
    return mail(signed(PROMISE, at=NOW - 2 * YEAR + 10)).replace(f"Date: {DATE}\r\n".encode(), b"")


def signed_two_years_ago_and_encrypted_today() -> bytes:
    return mail(encrypted(PROMISE, "alice", at=NOW - 2 * YEAR + 10))


def signed_by_alice_in_a_mail_of_eve() -> bytes:
    return mail(signed(PROMISE), sender=EVE)


def ciphertext_of_alice_signed_by_eve() -> bytes:
    return mail(signed(encrypted(PROMISE), "eve"), sender=EVE)


def ciphertext_of_alice_encrypted_again_by_eve() -> bytes:
    return mail(encrypted(encrypted(PROMISE), "eve"), sender=EVE)
