"""Keys that ended or were revoked, signatures that ended, and times that cannot be."""

from __future__ import annotations

from email.utils import formatdate

from leap.keymanager.openpgp.signature import Subpacket, subpacket
from tests.mail.incoming.attacks.building import encrypted, mail, signature, signed, signed_by, text
from tests.mail.incoming.attacks.people import DAVE, FRANK, YEAR
from tests.mail.travel import NOW

SHA1 = 2  # RFC 9580 9.5
NOTE = text("The meeting is at noon.")


def key_had_ended() -> bytes:
    return mail(signed(NOTE, "frank"), sender=FRANK)


def key_had_ended_inside_the_encryption() -> bytes:
    return mail(encrypted(NOTE, "frank"), sender=FRANK)


def key_ended_since() -> bytes:
    at = NOW - 1.5 * YEAR
    return mail(signed(NOTE, "frank", at=at), sender=FRANK, date=formatdate(at))


def key_was_revoked() -> bytes:
    return mail(signed(NOTE, "dave"), sender=DAVE)


def stolen_key_with_a_time_before_its_revocation() -> bytes:
    return mail(encrypted(NOTE, "dave", at=NOW - YEAR), sender=DAVE)


def signature_had_ended() -> bytes:
    says = [subpacket(Subpacket.EXPIRES, (3600).to_bytes(4, "big"), critical=True)]
    return mail(signed_by(NOTE, signature(NOTE, "alice", at=NOW - 7200, says=says)))


def signed_next_month() -> bytes:
    return mail(signed(NOTE, at=NOW + 30 * 86400))


def signed_before_the_key_was_made() -> bytes:
    return mail(signed(NOTE, at=NOW - 3 * YEAR))


def signed_with_sha_1() -> bytes:
    return mail(signed_by(NOTE, signature(NOTE, "alice", hash_number=SHA1)))


def demands_what_nobody_knows() -> bytes:
    says = [subpacket(120, b"?", critical=True)]
    return mail(signed_by(NOTE, signature(NOTE, "alice", says=says)))
