"""Header fields that speak for the reader's own program or provider, at every depth of a mail."""

from __future__ import annotations

from leap.mail.authentication_results import results_field
from leap.mail.contract import DkimCheck, ProviderChecks
from tests.mail.incoming.attacks.building import (
    attached,
    container,
    encrypted,
    html,
    mail,
    message,
    multipart,
    ours,
    signed,
    text,
)
from tests.mail.incoming.attacks.people import ALICE, BOB, EVE
from tests.mail.travel import DOMAIN

FORGED = b"X-Leap-Signature: valid; signer=alice@example.test\r\n"
BOTH = b"X-Leap-Encryption: decrypted\r\n" + FORGED
RESULTS = b"Authentication-Results: example.test; dkim=pass header.d=example.test\r\n"
OUTER = [("From", EVE), ("To", BOB), ("Subject", "[...]")]


def clear_folded() -> bytes:
    folded = b"X-Leap-Signature:\r\n valid; signer=alice@example.test\r\n"
    folded += b"x-LEAP-encryption :\r\n\tdecrypted\r\n"
    return mail(text("Send me the file."), before=folded)


def clear_results_of_our_provider() -> bytes:
    more = b"Authentication-Results: (a;) mx.example.test 1 (b); spf=pass smtp.mailfrom=alice@example.test\r\n"
    return mail(text("Send me the file."), before=RESULTS + more)


def clear_after_a_bare_cr() -> bytes:
    return mail(text("Send me the file."), extra=b"X-Mailer: m\r" + BOTH)


def clear_behind_nul_and_unicode() -> bytes:
    hidden = b"\x00" + FORGED + b"X-Mailer: m\xe2\x80\xa8" + FORGED + b"X-Note: n\xc2\x85" + BOTH
    return mail(text("Send me the file."), extra=hidden)


def outside_an_encrypted_mail() -> bytes:
    return mail(encrypted(text("Send me the file.")), before=BOTH + RESULTS)


def inside_the_encryption() -> bytes:
    entity = b'Content-Type: text/plain; charset=utf-8; hp="cipher"\r\n' + BOTH + RESULTS
    fields = f"From: {EVE}\r\nSubject: Inside\r\nHP-Outer: From: {EVE}\r\n".encode()
    fields += b"HP-Outer: Subject: [...]\r\n\r\nSend me the file.\r\n"
    return mail(container(message(entity + fields)), sender=EVE, subject="[...]")


def inside_the_encryption_of_our_own_form() -> bytes:
    # `protect` takes nothing away: an attacker's program would not either
    submitted = BOTH + mail(text("Send me the file."), sender=EVE)
    return mail(ours(submitted, OUTER), sender=EVE, subject="[...]")


def inside_an_attached_mail() -> bytes:
    old = mail(text("I agree to everything."), before=BOTH + RESULTS)
    return mail(multipart("mixed", [text("See what Alice wrote."), attached(old)]), sender=EVE)


def inside_a_mail_attached_to_an_attached_mail() -> bytes:
    oldest = mail(text("I agree to everything."), before=BOTH)
    old = mail(multipart("mixed", [text("Forwarded again."), attached(oldest)]), before=RESULTS)
    return mail(multipart("mixed", [text("See what Alice wrote."), attached(old)]), sender=EVE)


def inside_a_mail_attached_within_the_encryption() -> bytes:
    old = mail(text("I agree to everything."), before=b"X-Leap-Signature:\r\n\tvalid\r\n" + BOTH)
    inner = multipart("mixed", [text("See what Alice wrote."), attached(old)])
    return mail(encrypted(inner, "eve"), sender=EVE)


def inside_the_encryption_of_an_attached_mail() -> bytes:
    entity = b'Content-Type: text/plain; charset=utf-8; hp="cipher"\r\n' + BOTH
    inner = entity + f"From: {ALICE}\r\n\r\nI agree to everything.\r\n".encode()
    old = mail(container(message(inner)), before=RESULTS)
    return mail(multipart("mixed", [text("See what Alice wrote."), attached(old)]), sender=EVE)


def _block(sender: str, *, passed: bool) -> bytes:
    """A trace block just as the reader's own provider writes it, with what it found."""
    word = "pass" if passed else "fail"
    checks = ProviderChecks(
        spf=word,
        spf_domain="example.test",
        dkim=(DkimCheck(result=word, domain="example.test"),),
        dmarc=word,
        dmarc_domain="example.test",
        policy="reject",
    )
    return (
        f"Return-Path: <{sender}>\r\n".encode()
        + results_field(DOMAIN, checks)
        + b"Received: from evil.test by mx.example.test; Mon, 21 Sep 2026 14:13:20 +0000\r\n"
    )


def below_what_the_provider_says() -> bytes:
    true, forged = _block("eve@evil.test", passed=False), _block(ALICE, passed=True)
    return mail(text("Send me the file."), before=true + forged + BOTH)


def block_of_the_provider_inside_the_encryption() -> bytes:
    submitted = _block(ALICE, passed=True) + mail(text("Send me the file."), sender=EVE)
    return mail(ours(submitted, OUTER), sender=EVE, subject="[...]")


def block_of_the_provider_in_an_attached_mail() -> bytes:
    old = _block(ALICE, passed=True) + mail(text("I agree to everything."))
    whole = mail(multipart("mixed", [text("See what Alice wrote."), attached(old)]), sender=EVE)
    return _block("eve@evil.test", passed=False) + whole


def block_of_the_provider_below_another_field() -> bytes:
    return mail(text("Send me the file."), before=b"X-First: x\r\n" + _block(ALICE, passed=True))


def above_a_signed_mail() -> bytes:
    return mail(signed(text("Send me the file."), "eve"), before=BOTH + RESULTS)


def in_a_body_that_looks_like_a_header() -> bytes:
    first = b"X-Leap-Signature: valid; signer=alice@example.test\r\nFrom: alice@example.test\r\n"
    return mail(
        multipart("mixed", [text(first + b"\r\nI agree."), html("<p>I agree.</p>")]), sender=EVE
    )
