"""OpenPGP at every place of a mail: what speaks for all of it, what for a part, and what is never put together."""

from __future__ import annotations

import base64
import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import encrypt, sign_detached
from leap.keymanager.openpgp.armor import MESSAGE, armor
from leap.keymanager.openpgp.message import _signed, literal_head
from leap.mail.incoming.opening import Opened
from leap.mail.message import Message
from leap.mail.message.scanner import part_tree
from leap.mail.outgoing.field_lines import header_fields
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.mail.incoming.test_opening import (
    ALICE,
    BOB,
    EVE,
    OUTER,
    Ring,
    opened,
    ring,
    sealed,
    states,
)
from tests.mail.travel import NOW, mail, own_key

__all__ = ["ring"]

HEADER = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: s\r\nMIME-Version: 1.0\r\n".encode()
TEXT = b"Content-Type: text/plain\r\n\r\nThe secret.\r\n"
CLEAR = b"Content-Type: text/plain\r\n\r\nNobody signed this.\r\n"
FOOTER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n_______\r\nlist footer\r\n"
HTML = b"Content-Type: text/html\r\n\r\n<img src='http://eve.test/\r\n"


def ciphertext(payload: bytes, signer: str | None = "alice", to: str = "bob") -> bytes:
    key = own_key(signer) if signer else None
    return crlf(encrypt(payload, [own_key(to).certificate], key, now=lambda: NOW))


def crlf(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encrypted(payload: bytes = TEXT, signer: str | None = "alice", to: str = "bob") -> bytes:
    """A multipart/encrypted entity."""
    whole = wrap([], None, ciphertext(payload, signer, to), "=_enc")
    return whole.replace(b"MIME-Version: 1.0\r\n", b"", 1)


def signed(content: bytes = TEXT, signer: str = "alice", boundary: bytes = b"SS") -> bytes:
    """A multipart/signed entity."""
    signature = crlf(sign_detached(content, own_key(signer), now=lambda: NOW))
    return b"".join(
        (
            b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary="',
            *(boundary, b'"\r\n\r\n--', boundary, b"\r\n", content, b"\r\n--", boundary),
            *(b"\r\nContent-Type: application/pgp-signature\r\n\r\n", signature, b"--", boundary),
            b"--\r\n",
        )
    )


def multipart(*parts: bytes, subtype: bytes = b"mixed", boundary: bytes = b"MM") -> bytes:
    head = b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n\r\n'
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return head + body + b"--" + boundary + b"--\r\n"


def attached(message: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + message


def clearsigned(text: bytes = b"I agree.\r\n", signer: str = "alice") -> bytes:
    """`text` ends in CRLF and has no dashes at the begin of a line."""
    signature = sign_detached(text[:-2], own_key(signer), text=True, now=lambda: NOW)
    head = b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n"
    return head + text + crlf(signature)


def brief(one: Opened) -> tuple[str, list[str], list[tuple[str, str, list[str]]]]:
    status = one.security
    parts = [(p.section, p.encryption, [s.state for s in p.signatures]) for p in status.parts]
    return status.encryption, states(one), parts


def text_of(one: Opened, section: str) -> bytes:
    message = Message(one.served)
    part = message.part(section)
    assert part is not None, section
    return message.content(part)


# -- what covers all of a mail ------------------------------------------------------------------


async def test_a_mail_signed_then_encrypted_is_signed(ring: Ring) -> None:
    one = await opened(sealed(signed(), None), ring)
    assert brief(one) == ("end-to-end", ["good"], [])
    both = await opened(sealed(signed(signer="eve"), "alice"), ring)
    assert brief(both) == ("end-to-end", ["good", "not-from"], [])


async def test_line_ends_lost_inside_the_encryption_do_not_break_a_signature(ring: Ring) -> None:
    one = await opened(sealed(signed().replace(b"\r\n", b"\n"), None), ring)
    assert brief(one) == ("end-to-end", ["good"], [])


async def test_a_signature_around_the_encryption_says_nothing_of_its_text(ring: Ring) -> None:
    one = await opened(HEADER + signed(encrypted(signer=None), "alice"), ring)
    assert brief(one) == ("end-to-end", [], [])
    assert "signature around" in one.security.note
    assert one.served.endswith(b"\r\n\r\nThe secret.\r\n")
    mine = await opened(HEADER + signed(encrypted(), "eve"), ring)
    assert brief(mine) == ("end-to-end", ["good"], [])


async def test_two_encryptions_around_each_other_are_both_opened(ring: Ring) -> None:
    one = await opened(sealed(encrypted(signer=None), "alice"), ring)
    assert brief(one) == ("end-to-end", [], [])
    assert one.served.endswith(b"\r\n\r\nThe secret.\r\n")
    for_carol = await opened(sealed(encrypted(to="carol")), ring)
    assert brief(for_carol) == ("undecryptable", [], [])


async def test_two_signatures_around_each_other_both_count_from_outside_inwards(ring: Ring) -> None:
    raw = HEADER + signed(signed(TEXT, "alice", b"TT"), "eve")
    assert brief(await opened(raw, ring)) == ("provider", ["not-from", "good"], [])


@pytest.mark.parametrize("first", [b"Content-Type: text/plain\r\n\r\n\r\n", None])
async def test_what_exchange_makes_of_an_encrypted_mail_is_opened(
    ring: Ring, first: bytes | None
) -> None:
    halves = [
        b'Content-Type: application/pgp-encrypted; name="ATT00001"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"Version: 1\r\n"),
        b'Content-Type: application/octet-stream; name="encrypted.asc"\r\n\r\n' + ciphertext(TEXT),
    ]
    raw = HEADER + multipart(*([first] if first else []), *halves)
    one = await opened(raw, ring)
    assert brief(one) == ("end-to-end", ["good"], [])
    assert one.original == raw
    with_text = await opened(HEADER + multipart(CLEAR, *halves, FOOTER), ring)
    assert brief(with_text) == ("provider", [], [("2", "end-to-end", ["good"])])
    assert b"The secret." in text_of(with_text, "2.1")
    assert b"list footer" in text_of(with_text, "3")


@pytest.mark.parametrize("coding", ["7bit", "base64", "quoted-printable"])
async def test_a_text_that_is_one_inline_message_is_opened(ring: Ring, coding: str) -> None:
    body = b"\r\n" + ciphertext("Grüße\n".encode()) + b"\r\n \r\n"
    if coding == "base64":
        body = base64.encodebytes(body)
    elif coding == "quoted-printable":
        body = quopri.encodestring(body)
    head = f"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: {coding}\r\n\r\n"
    raw = HEADER + head.encode() + body
    one = await opened(raw, ring)
    assert brief(one) == ("end-to-end", ["good"], [])
    assert Message(one.served).body_text == "Grüße\n"
    assert one.original == raw
    assert Message(one.served).subject == "s"


async def test_an_inline_message_is_text_whatever_it_holds(ring: Ring) -> None:
    inside = HTML + b"\r\nFrom: eve@example.test\r\n"
    one = await opened(HEADER + b"\r\n" + ciphertext(inside), ring)
    assert Message(one.served).root.content_type == "text/plain"
    assert one.security.html is False
    assert states(one) == ["good"]


async def test_a_text_that_is_packed_and_signed_but_not_encrypted_says_so(ring: Ring) -> None:
    text = b"Packed.\r\n"
    content = _signed(text, [literal_head(len(text)), text], own_key("alice"), int(NOW), (), bytes)
    one = await opened(HEADER + b"\r\n" + crlf(armor(b"".join(content), MESSAGE)), ring)
    assert brief(one) == ("provider", ["good"], [])
    assert Message(one.served).body_text == "Packed.\n"


async def test_a_cleartext_signed_text_is_shown_without_what_is_not_signed(ring: Ring) -> None:
    raw = HEADER + b"\r\n" + clearsigned()
    raw = raw.replace(b"SIGNATURE-----\r\n", b"SIGNATURE-----\r\nComment: EVIL\r\n", 1)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", ["good"], [])
    assert Message(one.served).body_text == "I agree.\n"
    assert one.original == raw
    changed = await opened(raw.replace(b"I agree", b"I  deny"), ring)
    assert brief(changed) == ("provider", ["bad"], [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hash: SHA512\r\n", b"Hash: SHA512\r\nPay: 100\r\n"),
        (b"Hash: SHA512", b"Hash: SHA512 pay 100"),
        (b"I agree.\r\n", b"I agree.\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n"),
    ],
)
async def test_a_cleartext_signed_text_with_words_between_its_lines_is_bad(
    ring: Ring, old: bytes, new: bytes
) -> None:
    raw = HEADER + b"\r\n" + clearsigned().replace(old, new)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", ["bad"], [])
    assert one.served.endswith(raw)
    assert one.original is None


# -- what covers a part ---------------------------------------------------------------------------


async def test_a_list_footer_stands_apart_from_what_was_encrypted(ring: Ring) -> None:
    raw = HEADER + multipart(encrypted(), FOOTER)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", [], [("1", "end-to-end", ["good"])])
    message = Message(one.served)
    assert [part.content_type for part in message.root.children] == ["message/rfc822", "text/plain"]
    assert message.body_text == "_______\nlist footer\n"  # what a reply quotes
    inner = Message(text_of(one, "1"))
    assert inner.subject == "s"
    assert inner.addresses("from")[0].address == ALICE
    assert inner.body_text == "The secret.\n"
    assert one.original == raw
    assert b"X-Leap-Part: section=1; encryption=decrypted; signature=valid\r\n" in one.served


async def test_a_list_footer_stands_apart_from_what_was_signed(ring: Ring) -> None:
    raw = HEADER + multipart(signed(), FOOTER)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", [], [("1.1", "none", ["good"])])
    assert one.served.endswith(raw)
    assert one.original is None


async def test_a_protected_header_inside_a_list_is_that_of_the_attached_mail(ring: Ring) -> None:
    header = HEADER.replace(ALICE.encode(), b"list@elsewhere.test")
    one = await opened(header + multipart(encrypted(protect(mail(), OUTER)), FOOTER), ring)
    assert brief(one) == ("provider", [], [("1", "end-to-end", ["good"])])
    assert Message(text_of(one, "1")).subject == "The secret plan"
    unsigned = await opened(
        header + multipart(encrypted(protect(mail(), OUTER), "eve"), FOOTER), ring
    )
    assert brief(unsigned) == ("provider", [], [("1", "end-to-end", ["not-from"])])
    assert Message(text_of(unsigned, "1")).addresses("from")[0].address == "list@elsewhere.test"


@pytest.mark.parametrize("subtype", [b"alternative", b"related", b"x-unknown"])
async def test_nothing_is_decrypted_where_a_program_would_make_one_page_of_it(
    ring: Ring, subtype: bytes
) -> None:
    for inner in (encrypted(), b"\r\n" + ciphertext(b"The secret.\r\n"), multipart(encrypted())):
        raw = HEADER + multipart(HTML, inner, subtype=subtype, boundary=b"AA")
        one = await opened(raw, ring)
        assert b"The secret" not in one.served
        status, _, [(_, encryption, signatures)] = brief(one)
        assert (status, encryption, signatures) == ("provider", "undecryptable", [])
        assert one.served.endswith(raw)


async def test_html_before_and_after_does_not_reach_around_what_is_decrypted(ring: Ring) -> None:
    one = await opened(HEADER + multipart(HTML, encrypted(signer=None), HTML), ring)
    assert brief(one) == ("provider", [], [("2", "end-to-end", [])])
    page = Message(one.served).body_html
    assert page is not None
    assert "The secret" not in page
    part = Message(one.served).root.children[1]
    assert b"Content-Disposition: attachment" in Message(one.served).header(part)


async def test_what_could_break_out_of_its_part_is_not_put_in(ring: Ring) -> None:
    evil = TEXT + b"--MM\r\nContent-Type: text/html\r\n\r\n<img src='http://eve.test/\r\n--MM--\r\n"
    for payload in (evil, evil.replace(b"\r\n", b"\r")):
        one = await opened(HEADER + multipart(encrypted(payload), FOOTER), ring)
        assert brief(one) == ("provider", [], [("1", "undecryptable", [])])
        assert b"The secret" not in one.served


async def test_an_attached_mail_is_opened_as_a_mail_of_its_own(ring: Ring) -> None:
    forwarded = sealed(protect(mail(), OUTER))
    one = await opened(
        HEADER.replace(b"alice", b"eve") + multipart(CLEAR, attached(forwarded)), ring
    )
    assert brief(one) == ("provider", [], [("2", "end-to-end", ["good"])])
    inner = Message(text_of(one, "2"))
    assert inner.subject == "The secret plan"
    assert inner.body_text == "Hello Bob.\n"
    signed_one = await opened(HEADER + multipart(CLEAR, attached(HEADER + signed())), ring)
    assert brief(signed_one) == ("provider", [], [("2", "none", ["good"])])
    digest = multipart(b"\r\n" + HEADER + signed(), b"\r\n" + forwarded, subtype=b"digest")
    both = await opened(HEADER + digest, ring)
    assert brief(both)[2] == [("1", "none", ["good"]), ("2", "end-to-end", ["good"])]


async def test_an_attached_mail_in_base64_is_opened_too(ring: Ring) -> None:
    coded = base64.encodebytes(sealed(TEXT)).replace(b"\n", b"\r\n")
    part = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded
    one = await opened(HEADER + multipart(CLEAR, part), ring)
    assert brief(one) == ("provider", [], [("2", "end-to-end", ["good"])])
    assert Message(text_of(one, "2")).body_text == "The secret.\n"


async def test_text_around_an_inline_message_is_outside(ring: Ring) -> None:
    body = b"before\r\n" + ciphertext(b"The secret.\r\n") + b"after\r\n"
    one = await opened(HEADER + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body, ring)
    assert brief(one) == ("provider", [], [("2", "end-to-end", ["good"])])
    kinds = [part.content_type for part in Message(one.served).root.children]
    assert kinds == ["text/plain", "message/rfc822", "text/plain"]
    assert Message(one.served).body_text == "before\n\nafter"
    assert Message(text_of(one, "2")).body_text == "The secret.\n"
    two = await opened(HEADER + b"\r\n" + body + ciphertext(b"Another.\r\n", "eve"), ring)
    expected = [("2", "end-to-end", ["good"]), ("4", "end-to-end", ["not-from"])]
    assert brief(two) == ("provider", [], expected)


async def test_text_around_a_signed_text_is_outside(ring: Ring) -> None:
    raw = HEADER + multipart(b"\r\nbefore\r\n" + clearsigned() + b"after\r\n", FOOTER)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", [], [("1.2", "none", ["good"])])
    assert text_of(one, "1.1") == b"before\r\n"
    assert text_of(one, "1.2") == b"I agree.\r\n"
    assert text_of(one, "1.3") == b"after\r\n"


async def test_a_quoted_or_cut_block_is_text(ring: Ring) -> None:
    quoted = b"> " + ciphertext(TEXT).replace(b"\r\n", b"\r\n> ")
    for body in (quoted, ciphertext(TEXT)[:-60], clearsigned()[:-40], quoted + clearsigned()[:90]):
        raw = HEADER + b"\r\nhi\r\n" + body
        one = await opened(raw, ring)
        assert brief(one) == ("provider", [], [])
        assert one.served.endswith(raw)


async def test_an_inline_message_to_somebody_else_stays_where_it_is(ring: Ring) -> None:
    block = ciphertext(TEXT, to="carol")
    raw = HEADER + b"\r\nbefore\r\n" + block
    one = await opened(raw, ring)
    assert brief(one) == ("provider", [], [("1", "undecryptable", [])])
    assert one.served.endswith(raw)


async def test_files_and_html_with_blocks_in_them_are_not_touched(ring: Ring) -> None:
    html = b"Content-Type: text/html\r\n\r\n<pre>\r\n" + ciphertext(TEXT) + b"</pre>\r\n"
    file = b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\n" + ciphertext(TEXT)
    pgp = b"Content-Type: application/octet-stream; name=a.pdf.pgp\r\n\r\n" + ciphertext(TEXT)
    raw = HEADER + multipart(CLEAR, html, file, pgp)
    one = await opened(raw, ring)
    assert brief(one) == ("provider", [], [])
    assert one.served.endswith(raw)


async def test_a_captured_message_in_a_mail_of_another_is_nobodys_word_there(ring: Ring) -> None:
    captured = encrypted(signer="alice")
    outer = [("From", EVE), *OUTER[1:]]
    one = await opened(sealed(multipart(HTML, captured), "eve", outer), ring)
    assert brief(one) == ("end-to-end", ["good"], [("2", "end-to-end", ["not-from"])])
    assert one.security.html is True
    assert b"X-Leap-Html: encrypted\r\n" in one.served


# -- limits ---------------------------------------------------------------------------------------


async def test_layers_in_one_another_are_opened_to_a_depth(ring: Ring) -> None:
    entity = TEXT
    for _ in range(5):
        entity = encrypted(entity, None)
    one = await opened(HEADER + entity, ring)
    assert brief(one) == ("end-to-end", [], [])
    for _ in range(5):
        entity = encrypted(entity, None)
    deep = await opened(HEADER + entity, ring)
    assert deep.security.encryption == "undecryptable"
    assert "more layers" in deep.security.note


async def test_many_layers_are_opened_to_a_number(ring: Ring) -> None:
    one = await opened(HEADER + multipart(*[encrypted(signer=None)] * 40), ring)
    found = [part.encryption for part in one.security.parts]
    assert found == ["end-to-end"] * 32 + ["undecryptable"] * 8


async def test_messages_in_messages_lose_forged_fields_at_every_depth(ring: Ring) -> None:
    message = b"X-Leap-Signature: valid\r\n" + HEADER + b"\r\nhi\r\n"
    for _ in range(12):
        message = b"X-Leap-Encryption: decrypted\r\n" + HEADER + attached(message)
    one = await opened(message, ring)
    assert one.served.count(b"X-Leap-") == 2
    assert one.served.count(b"From:") == 13
    assert one.original == message


# -- facts of a status ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outer", "inner", "differ"),
    [
        ([], "The secret plan", ()),
        ([("Subject", "[...]")], "The secret plan", ()),
        ([("Subject", "something else")], "The secret plan", ("subject",)),
        ([("To", EVE)], "The secret plan", ("to",)),
        ([("To", f"Robert <{BOB}>")], "The secret plan", ()),
        ([("From", EVE)], "The secret plan", ("from",)),
    ],
)
async def test_protected_fields_that_said_something_else_are_named(
    ring: Ring, outer: list[tuple[str, str]], inner: str, differ: tuple[str, ...]
) -> None:
    fields = {"From": ALICE, "To": BOB, "Subject": "[...]"} | dict(outer)
    raw = sealed(protect(mail(), OUTER), outer=list(fields.items()))
    assert (await opened(raw, ring)).security.headers_differ == differ
    head = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: {inner}\r\n".encode()
    v1 = head + b'Content-Type: text/plain; protected-headers="v1"\r\n\r\nhi\r\n'
    old = await opened(sealed(v1, outer=list(fields.items())), ring)
    assert old.security.headers_differ == differ
    assert Message(old.served).subject == inner


async def test_whether_the_fields_that_are_shown_are_covered_is_told(ring: Ring) -> None:
    fields = [("From", ALICE), ("To", BOB), ("Subject", "s")]
    content = HEADER + b'Content-Type: text/plain; hp="clear"\r\n\r\nhi\r\n'
    of_eve = HEADER.replace(ALICE.encode(), EVE.encode())
    of_eve += b'Content-Type: text/plain; hp="cipher"\r\n\r\nhi'
    for raw, covered in (
        (sealed(protect(mail(), OUTER), outer=fields), True),
        (sealed(TEXT, outer=fields), False),
        (HEADER + signed(content), True),
        (HEADER + signed(content).replace(b"\r\n\r\nhi", b"\r\n\r\nho"), False),
        (HEADER + signed(), False),
        (HEADER + TEXT, False),
        # a From which no signature backs is not served, nor what stands beside it
        (sealed(of_eve, outer=fields), False),
    ):
        assert (await opened(raw, ring)).security.headers_protected is covered, raw


async def test_a_protected_header_of_a_signed_mail_is_served_when_the_signature_is_good(
    ring: Ring,
) -> None:
    content = HEADER.replace(b"Subject: s", b"Subject: signed") + (
        b'Content-Type: text/plain; hp="clear"\r\n\r\nhi\r\n'
    )
    one = await opened(HEADER + signed(content), ring)
    assert (states(one), one.security.headers_differ) == (["good"], ("subject",))
    assert Message(one.served).subject == "signed"
    bad = await opened(HEADER + signed(content).replace(b"\r\n\r\nhi", b"\r\n\r\nho"), ring)
    assert (states(bad), bad.security.headers_differ) == (["bad"], ())
    assert Message(bad.served).subject == "s"
    assert (one.original, bad.original) == (HEADER + signed(content), None)


async def test_what_was_added_outside_a_protected_header_is_not_served_with_a_good_signature(
    ring: Ring,
) -> None:
    """RFC 9788 4.2: an answer would go to whom a relay named."""
    content = HEADER + b'Content-Type: text/plain; hp="clear"\r\n\r\nhi\r\n'
    added = f"Reply-To: {EVE}\r\nCc: {EVE}\r\n".encode()
    raw = b"Received: by mx\r\n" + added + HEADER + signed(content)
    one = await opened(raw, ring)
    assert states(one) == ["good"]
    assert EVE.encode() not in one.served
    assert b"Received: by mx\r\n" in one.served
    assert one.original == raw


async def test_a_signed_mail_whose_outer_header_says_the_same_stays_as_it_came(ring: Ring) -> None:
    content = HEADER + b'Content-Type: text/plain; hp="clear"\r\n\r\nhi\r\n'
    raw = b"DKIM-Signature: v=1\r\n" + HEADER + signed(content)
    one = await opened(raw, ring)
    assert states(one) == ["good"]
    assert one.served.endswith(raw)
    assert one.original is None


@pytest.mark.parametrize(
    "sender",
    [
        f'"{ALICE}" <{EVE}>',
        f"{EVE} ({ALICE})",
        f"=?utf-8?q?alice=40example.test?= <{EVE}>",
        f"=?utf-8?q?alice=EF=BC=A0example.test?= <{EVE}>",
        f"=?utf-8?q?Alice_=E2=80=AE?= <{EVE}>",
    ],
)
async def test_a_from_that_shows_another_address_is_never_good(ring: Ring, sender: str) -> None:
    raw = HEADER.replace(ALICE.encode(), sender.encode()) + signed(signer="eve")
    assert states(await opened(raw, ring)) == ["not-from"]
    same = HEADER.replace(ALICE.encode(), f'"{EVE}" <{EVE}>'.encode()) + signed(signer="eve")
    assert states(await opened(same, ring)) == ["good"]


async def test_how_well_the_signers_key_was_known_is_told(ring: Ring) -> None:
    one = await opened(sealed(TEXT), ring)
    assert one.security.signatures[0].level == "weak-chain"
    other = await opened(sealed(TEXT, "eve"), ring)
    assert other.security.signatures[0].level == ""


async def test_a_signature_much_older_than_the_date_shown_is_told(ring: Ring) -> None:
    date = b"Date: Mon, 21 Sep 2026 10:00:00 +0000\r\n"  # NOW is that day
    assert (await opened(HEADER + date + signed(), ring)).security.note == ""
    late = await opened(HEADER + date.replace(b"21 Sep", b"30 Sep") + signed(), ring)
    assert states(late) == ["good"]
    assert "2026-09-21" in late.security.note


# -- any mail -------------------------------------------------------------------------------------

SECRET = b"The secret."
LEAVES = [
    CLEAR,
    HTML,
    FOOTER,
    signed(),
    encrypted(signer=None),
    b"\r\nbefore\r\n" + ciphertext(SECRET + b"\r\n") + b"after\r\n",
    b"\r\nbefore\r\n" + clearsigned(),
    b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
    b"Content-Type: application/octet-stream\r\n\r\n" + ciphertext(TEXT),
]
SUBTYPES = [b"mixed", b"alternative", b"related", b"digest", b"signed", b"report"]


def trees(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    many = st.builds(
        lambda parts, subtype, boundary: multipart(*parts, subtype=subtype, boundary=boundary),
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from(SUBTYPES),
        st.sampled_from([b"A", b"AA", b"B", b"SS", b"=_enc"]),
    )
    return st.one_of(
        many,
        inner.map(lambda part: attached(HEADER + part)),
        inner.map(lambda part: signed(part)),
        inner.map(lambda part: encrypted(part)),
    )


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(st.sampled_from(LEAVES), trees, max_leaves=6),
    st.binary(max_size=6),
    st.integers(0, 4000),
)
async def test_in_any_mail_what_is_decrypted_stands_apart(
    entity: bytes, junk: bytes, at: int
) -> None:
    ring = Ring([own_key("bob")], [own_key("alice").certificate, own_key("eve").certificate])
    raw = HEADER + entity
    for came in (raw, raw[: at % len(raw)] + junk + raw[at % len(raw) :]):
        one = await opened(came, ring)
        message = Message(one.served)
        numbers = {number for number, _ in part_tree(message.root).numbered()}
        assert {part.section for part in one.security.parts} <= numbers
        covered = [
            message.part(p.section) for p in one.security.parts if p.encryption == "end-to-end"
        ]
        for found in re.finditer(re.escape(SECRET), one.served):
            if SECRET in came or one.security.encryption == "end-to-end":
                break
            holders = [
                part for part in covered if part and part.header_start <= found.start() < part.end
            ]
            assert holders
        if one.served.count(SECRET) > came.count(SECRET):
            assert one.original == came


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (b"base64", b"X-Leap-Signature: valid\r\n" + HEADER + b"\r\nhi\r\n"),
        (b"quoted-printable", b"X=2DLeap-Signature: valid\r\n" + HEADER + b"\r\nhi\r\n"),
        (b"quoted-printable", b"A: b=\r\nX-Leap-Signature: valid\r\n" + HEADER + b"\r\nhi\r\n"),
    ],
)
async def test_an_encoded_attached_mail_loses_forged_fields_however_it_is_read(
    ring: Ring, label: bytes, message: bytes
) -> None:
    part = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + label + b"\r\n\r\n"
    one = await opened(HEADER + multipart(CLEAR, part + message), ring)
    attached_one = Message(one.served).root.children[1]
    raw = Message(one.served).body(attached_one)
    for reading in (raw, quopri.decodestring(raw)):
        assert not any(f.name.startswith("x-leap-") for f in header_fields(reading))
