"""From fields in which some program shows a person alice, and another reads eve, who signs."""

from __future__ import annotations

from tests.mail.incoming.attacks.building import encrypted, mail, ours, signed, text
from tests.mail.incoming.attacks.people import ALICE, BOB, EVE, LOOKS

ORDER = text("Pay the bill today.")


def _by_eve(from_lines: bytes) -> bytes:
    return mail(signed(ORDER, "eve"), sender=from_lines)


def two_fields_eve_first() -> bytes:
    return _by_eve(f"From: {EVE}\r\nFrom: {ALICE}\r\n".encode())


def two_fields_alice_first() -> bytes:
    return mail(encrypted(ORDER, "eve"), sender=f"From: {ALICE}\r\nFrom: {EVE}\r\n".encode())


def two_mailboxes() -> bytes:
    return _by_eve(f"From: Alice <{ALICE}>, {EVE}\r\n".encode())


def name_is_an_address() -> bytes:
    return _by_eve(f'From: "{ALICE}" <{EVE}>\r\n'.encode())


def name_with_an_address_in_it() -> bytes:
    return mail(encrypted(ORDER, "eve"), sender=f'From: "Alice ({ALICE})" <{EVE}>\r\n'.encode())


def name_in_an_encoded_word() -> bytes:
    return _by_eve(b"From: =?utf-8?q?alice=40example=2Etest?= <eve@example.test>\r\n")


def encoded_word_with_nul_in_the_address() -> bytes:
    # alice@example.test, NUL, (alice) as base64, then @eve.test
    word = b"=?utf-8?b?YWxpY2VAZXhhbXBsZS50ZXN0AChhbGljZSk=?=@eve.test"
    return mail(encrypted(ORDER, "eve"), sender=b"From: " + word + b"\r\n")


def nul_after_the_address() -> bytes:
    return _by_eve(b"From: alice@example.test\x00@eve.test\r\n")


def group() -> bytes:
    return _by_eve(f"From: {ALICE}: {EVE};\r\n".encode())


def empty_group() -> bytes:
    return mail(encrypted(ORDER, "eve"), sender=f"From: {ALICE}:;\r\n".encode())


def comment_with_an_address() -> bytes:
    return _by_eve(f"From: {EVE} ({ALICE})\r\n".encode())


def cyrillic_letter_in_the_domain() -> bytes:
    return _by_eve("From: Alice <alice@ex\u0430mple.test>\r\n".encode())


def domain_that_looks_alike_with_a_key_of_its_own() -> bytes:
    return mail(signed(ORDER, "looks"), sender=f"From: Alice <{LOOKS}>\r\n".encode())


def domain_that_looks_alike_in_ascii() -> bytes:
    ascii_form = LOOKS.rpartition("@")[2].encode("idna").decode()
    return mail(encrypted(ORDER, "looks"), sender=f"From: Alice <alice@{ascii_form}>\r\n".encode())


def name_that_turns_the_order_of_letters() -> bytes:
    return _by_eve("From: \u202etset.elpmaxe@ecila\u202c <eve@example.test>\r\n".encode())


def name_with_a_wide_at_sign() -> bytes:
    return _by_eve("From: alice\uff20example.test <eve@example.test>\r\n".encode())


def route_with_alice_in_it() -> bytes:
    return mail(encrypted(ORDER, "eve"), sender=f"From: <@{ALICE}:{EVE}>\r\n".encode())


def alice_as_a_quoted_local_part() -> bytes:
    return _by_eve(b'From: "alice@example.test"@eve.test\r\n')


def no_break_space_after_the_address() -> bytes:
    return mail(encrypted(ORDER, "eve"), sender=b"From: alice@example.test\xc2\xa0\r\n")


def two_angle_addresses() -> bytes:
    return _by_eve(f"From: <{ALICE}> <{EVE}>\r\n".encode())


def alice_with_eve_as_sender() -> bytes:
    return mail(signed(ORDER, "eve"), extra=f"Sender: {EVE}\r\nReply-To: {EVE}\r\n".encode())


def space_before_the_colon() -> bytes:
    return _by_eve(f"From : {ALICE}\r\nFrom: {EVE}\r\n".encode())


def after_a_bare_cr() -> bytes:
    return mail(
        encrypted(ORDER, "eve"), sender=f"X-Note: a\rFrom: {ALICE}\r\nFrom: {EVE}\r\n".encode()
    )


def none_at_all() -> bytes:
    return mail(signed(ORDER, "eve"), sender=b"")


def resent_from_alice() -> bytes:
    before = f"Resent-From: {ALICE}\r\nResent-To: {BOB}\r\n".encode()
    return mail(encrypted(ORDER, "eve"), sender=b"", before=before)


def inside_of_our_own_form_folded() -> bytes:
    folded = f'From: "{ALICE}"\r\n <{EVE}>\r\n'.encode()
    outer = [("From", f'"{ALICE}" <{EVE}>'), ("To", BOB), ("Subject", "[...]")]
    return mail(ours(mail(ORDER, sender=folded), outer, "eve"), sender=folded, subject="[...]")
