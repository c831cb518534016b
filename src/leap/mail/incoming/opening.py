"""One arrived mail opened: decrypted, its signatures judged, and put together as it will be served. Pure.

Invariants:
* A mail is never lost here: what cannot be decrypted or understood is served as it came, and says so.
* What only the provider sealed is called "provider", whatever it claims.
* The parts that are told about are found again in the very octets that are served; if one is not, nothing below the
  top is opened.
* Those of `chain`, `deeper` and `verdicts`, which do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from leap.keymanager.openpgp import SecretKey
from leap.mail.contract import PartSecurity, ProviderChecks, SecurityStatus
from leap.mail.incoming.chain import Chain
from leap.mail.incoming.layered import Layered, Mark
from leap.mail.incoming.neutral import without_forged_anywhere
from leap.mail.incoming.provider_checks import provider_checks
from leap.mail.incoming.replayed import note_of_age
from leap.mail.incoming.security_fields import with_security_fields, without_forged
from leap.mail.incoming.senders import Senders, SendersWanted
from leap.mail.incoming.verdicts import Judge
from leap.mail.message.header_lines import header_end
from leap.mail.message.scanner import part_tree, scan
from leap.mail.outgoing.names import GUARD

MAX_PARTS = 64  # told about; a mail with more is made to be long


@dataclass(frozen=True, slots=True)
class Opened:
    """What is stored: the octets served, what to believe, and the mail as it came when something in it was opened.

    Of mail encrypted end to end, `inner_header` is that of the payload, and `from_address` whom the served From names.
    `attached_signer` is the certificate attached to the mail, within what is signed, which signed it and carries its
    From; only where no signature is good.
    """

    served: bytes = field(repr=False)
    security: SecurityStatus
    original: bytes | None = field(repr=False)
    inner_header: bytes | None = field(repr=False, default=None)
    from_address: str | None = field(repr=False, default=None)
    attached_signer: bytes | None = field(repr=False, default=None)


def open_mail(
    raw: bytes,
    own_keys: Sequence[SecretKey],
    senders: Senders,
    *,
    own_domain: str,
    now: float,
    checks: ProviderChecks | None = None,
) -> Opened:
    """Opens a mail that came out of its inbox seal; `now` is in seconds since 1970.

    `checks`: what the provider said of a mail that is opened again, if it does not stand in `raw` any more.

    Raises SendersWanted when `senders` does not say whose key may have signed it, and nothing else. CPU: 1 ms,
    and 20 ms a megabyte, in steps of a few milliseconds.
    """
    came = _led(raw)
    for parts in (True, False):
        readers = [one for key in own_keys for one in key.certificate.fingerprints]
        judge = Judge(senders, readers, now)
        layered = Chain(own_keys, judge, own_domain, parts=parts).message(came, 0)
        if judge.asked:
            first, *others = judge.asked
            raise SendersWanted(first.from_address, first.issuers, tuple(others))
        cleaned = without_forged_anywhere(layered.message, own_domain)
        if cleaned != layered.message:
            if layered.marks:
                continue  # what is known of parts would stand elsewhere
            layered = replace(layered, message=cleaned, changed=True)
        opened = _opened(raw, layered, own_domain, provider_checks(raw, own_domain) or checks)
        if opened is not None:
            return opened
    return unopened(raw, own_domain)


def unopened(raw: bytes, own_domain: str) -> Opened:
    """The mail as it came, for one that this version fails at."""
    note = "This version could not open it; it is kept as it came."
    provider = provider_checks(raw, own_domain)
    status = SecurityStatus(encryption="undecryptable", note=note, provider=provider)
    shallow = without_forged(_led(raw), own_domain)
    message = without_forged_anywhere(shallow, own_domain)
    original = None if message == shallow else raw
    return Opened(with_security_fields(status, message, own_domain), status, original)


def _led(raw: bytes) -> bytes:
    """A mail as it is looked at: with a field in front where it begins with text in place of one.

    By itself that text would be its body; behind our fields its header goes on over it.
    """
    empty = raw.startswith((b"\r\n", b"\n"))
    return raw if empty or header_end(raw, 0, len(raw))[0] else GUARD + raw


def _opened(
    raw: bytes, layered: Layered, own_domain: str, checks: ProviderChecks | None
) -> Opened | None:
    """What is stored of it; None when its parts are not where they should be."""
    status = SecurityStatus(
        encryption="provider" if layered.encryption == "none" else layered.encryption,
        signatures=layered.signatures,
        note=layered.noting(note_of_age(layered.message, layered.signatures)).note,
        headers_protected=layered.headers_protected,
        headers_differ=layered.differ,
        html=layered.html,
        provider=checks,
    )
    if layered.marks:
        parts = _numbered(layered.message, layered.marks)
        if parts is None:
            return None
        status = msgspec.structs.replace(status, parts=parts)
    served = with_security_fields(status, layered.message, own_domain)
    if layered.marks:
        lead = len(served) - len(layered.message)
        # the message itself begins with our fields then
        moved = [one.moved(lead) if one.offset else one for one in layered.marks]
        if _numbered(served, moved) != status.parts:
            return None
    return Opened(
        served,
        status,
        raw if layered.changed else None,
        layered.inner_header,
        layered.from_address if layered.inner_header is not None else None,
        layered.attached_signer,
    )


def _numbered(message: bytes, marks: Sequence[Mark]) -> tuple[PartSecurity, ...] | None:
    """What is known of parts with their numbers, in order; None when one of them is not there."""
    tree = part_tree(scan(message))
    numbers = {
        (part.header_start, part.content_type): number
        for number, part in reversed(list(tree.numbered()))
    }
    found = []
    for one in sorted(marks, key=lambda its: its.offset)[:MAX_PARTS]:
        number = numbers.get((one.offset, one.content_type))
        if number is None:
            return None
        found.append(msgspec.structs.replace(one.status, section=number))
    return tuple(found)
