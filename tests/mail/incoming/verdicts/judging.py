"""A mail as it was opened against the verdict that people wrote down for it before.

What a verdict is about are texts, not section numbers: each text is looked for in the leaves of the mail as it is
served, and what covers such a leaf is the innermost `PartSecurity` around it, else the status of the message. So it
does not matter where a deeper layer is served, only that what is said of it is true.

Invariants:
* Whatever a row says, a text that nobody signed is never below a good signature, and the header fields say no more than
  the status does.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator, Sequence
from email.errors import MissingHeaderBodySeparatorDefect
from email.utils import getaddresses
from typing import NamedTuple

import msgspec

from leap.keymanager.canonical import canonical
from leap.mail.contract import PartSecurity, SecurityStatus
from leap.mail.incoming.opening import Opened
from leap.mail.message import Message
from leap.mail.message.attachments import disposition
from leap.mail.message.scanner import Part
from leap.mail.outgoing.addresses import without_tag

RESERVED = re.compile(rb"x-leap-[a-z]", re.IGNORECASE)
OWN_FIELDS = re.compile(rb"(?:X-Leap-[A-Za-z]+: [ -~]*\r\n(?:[ \t][ -~]*\r\n)*)+")


class Covered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that is shown, and what covers it."""

    text: str
    encryption: str
    signatures: list[str] = []


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a part."""

    encryption: str
    signatures: list[str] = []


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One mail and its expected verdict; docs in tests/mail/incoming/attacks/README.md."""

    sha256: str
    because: str
    encryption: str
    file: str = ""
    signatures: list[str] = []
    headers_differ: list[str] = []
    html: bool = False
    served_from: list[str] | None = None
    covered: list[Covered] = []
    undecryptable_parts: int | None = None
    parts: list[Said] | None = None
    autocrypt: str | None = None
    setup_message: bool = False
    uncovered: list[str] = []
    unsigned: list[str] = []
    hidden: list[str] = []
    gone: list[str] = []
    apart: list[list[str]] = []
    good_if_shown: list[str] = []
    note: bool = False
    dmarc: str = ""

    @property
    def kind(self) -> str:
        return self.file.partition("/")[0]


class Leaf(NamedTuple):
    """A part of text; `around`: where it and what holds it begin; `walls`: what is a mail or an attachment."""

    section: str
    text: str
    around: frozenset[int]
    walls: frozenset[int]


def faults(opened: Opened, row: Row) -> list[str]:
    """Everything in which the mail, as it was opened, differs from its row, in words."""
    return [*_differences(opened, row), *lies(opened)]


def lies(opened: Opened) -> list[str]:
    """What may be true of no mail whatever."""
    served, status = opened.served, opened.security
    found = []
    own = OWN_FIELDS.match(served)
    own_fields = own[0] if own else b""
    if not own_fields.startswith(b"X-Leap-Encryption: "):
        found.append("our fields do not stand at the top")
    says_valid = own_fields.count(b"X-Leap-Signature: valid")
    if says_valid != sum(one.state == "good" for one in status.signatures):
        found.append("X-Leap-Signature says something else than the status")
    if (b"X-Leap-Encryption: decrypted" in own_fields) != (status.encryption == "end-to-end"):
        found.append("X-Leap-Encryption says something else than the status")
    if says_valid:
        found += _of_somebody_else(opened)
    if says_valid or status.encryption == "end-to-end":
        found += _another_body(served)
    signatures = [*status.signatures, *(one for part in status.parts for one in part.signatures)]
    for one in signatures:
        if one.level and one.state in ("not-from", "unknown-key", "bad"):
            found.append(f"a {one.state} signature has the level of the sender's key")
    message = Message(served)
    for number, header in enumerate(headers(message)):
        rest = header[len(own_fields) :] if number == 0 else header
        if RESERVED.search(rest):
            found.append(f"a reserved field is in header {number}: {RESERVED.search(rest)}")
    sections = {section for section, _, _ in parts(message.root)}
    leaves = list(texts(message))
    for part in status.parts:
        if part.section not in sections:
            found.append(f"there is no section {part.section}")
        if part.encryption == "end-to-end":
            found += _merged(part, leaves)
    return found


def _of_somebody_else(opened: Opened) -> Iterator[str]:
    """Where Python's own reader of mail sees another sender than the good signatures are of, or more than one."""
    parsed = email.message_from_bytes(opened.served)
    # raw octets are kept as surrogates
    fields = [
        value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in parsed.raw_items()
        if name.lower() == "from"
    ]
    shown = [address for _, address in getaddresses(fields)]
    signers = {canonical(one.signer) for one in opened.security.signatures if one.state == "good"}
    if len(fields) != 1 or len(shown) != 1:
        yield f"From is {fields}, and a signature is good"
    elif not {without_tag(canonical(shown[0])), canonical(shown[0])} & signers:
        yield f"From is {shown}, and the good signatures are of {signers}"


def _another_body(served: bytes) -> Iterator[str]:
    """Where Python's own reader of mail takes a line of the header for the begin of the text."""
    for defect in email.message_from_bytes(served).defects:
        if isinstance(defect, MissingHeaderBodySeparatorDefect):
            yield "the header ends early for Python's reader, and a verdict stands over what follows"


def _merged(part: PartSecurity, leaves: Sequence[Leaf]) -> Iterator[str]:
    """Where what a layer keeps secret would be shown in one document with something beside it (EFAIL)."""
    within = [leaf for leaf in leaves if _holds(part, leaf)]
    beside = [leaf for leaf in leaves if not _holds(part, leaf)]
    for one in within:
        for other in beside:
            if not are_apart(one, other):
                yield f"decrypted {one.section} is shown with {other.section}"


def false_good(opened: Opened, row: Row) -> list[str]:
    """Where a good signature is told of that the row does not know, be the rest as it may."""
    status, found = opened.security, []
    if states(status.signatures).count("good") > row.signatures.count("good"):
        found.append("the message")
    due = [one.text for one in row.covered if "good" in one.signatures] + row.good_if_shown
    good = [part for part in status.parts if "good" in states(part.signatures)]
    for leaf in texts(Message(opened.served)):
        if not any(part in good for part in around(leaf, status)[-1:]):
            continue
        if leaf.text.strip() and not any(text in leaf.text for text in due):
            found.append(f"section {leaf.section}")
    return found


def wrongly_vouched(opened: Opened, row: Row) -> Iterator[str]:
    """Where a text that stands in clear beside what is covered is said to be covered, too."""
    status, leaves = opened.security, list(texts(Message(opened.served)))
    for text in row.uncovered:
        for leaf in _with(leaves, text):
            if encryption_of(leaf, status) == "end-to-end":
                yield f"{text!r} is in {leaf.section}, which is called end-to-end"
            if "good" in signatures_of(leaf, status):
                yield f"{text!r} is in {leaf.section}, below a good signature"


def _differences(opened: Opened, row: Row) -> Iterator[str]:
    status = opened.security
    message = Message(opened.served)
    if status.encryption != row.encryption:
        yield f"encryption {status.encryption}, not {row.encryption}"
    if states(status.signatures) != row.signatures:
        yield f"signatures {states(status.signatures)}, not {row.signatures}"
    if sorted(status.headers_differ) != row.headers_differ:
        yield f"headers_differ {status.headers_differ}, not {row.headers_differ}"
    if status.html != row.html:
        yield f"html {status.html}"
    if row.served_from is not None:
        shown = [one.address for one in message.addresses("from")]
        if shown != row.served_from:
            yield f"served From {shown}, not {row.served_from}"
    dmarc = status.provider.dmarc if status.provider is not None else ""
    if dmarc != row.dmarc:
        yield f"the provider said {dmarc!r} of DMARC, not {row.dmarc!r}"
    if row.note and not status.note and not any(one.reason for one in status.signatures):
        yield "nothing is said in words"
    if row.undecryptable_parts is not None:
        closed = sum(part.encryption == "undecryptable" for part in status.parts)
        if closed != row.undecryptable_parts:
            yield f"{closed} parts undecryptable, not {row.undecryptable_parts}"
    if row.parts is not None:
        said = [Said(part.encryption, states(part.signatures)) for part in _in_order(status.parts)]
        if said != row.parts:
            yield f"parts {said}, not {row.parts}"
    leaves = list(texts(message))
    for covered in row.covered:
        yield from _of_covered(leaves, status, covered)
    yield from wrongly_vouched(opened, row)
    for text in row.unsigned:
        for leaf in _with(leaves, text):
            if "good" in signatures_of(leaf, status):
                yield f"{text!r} is in {leaf.section}, below a good signature"
    for text in row.hidden:
        if text.encode() in opened.served or _with(leaves, text):
            yield f"{text!r} is served"
    every_header = list(headers(message))
    for text in row.gone:
        if any(text.lower().encode() in header.lower() for header in every_header):
            yield f"{text!r} is in a header"
    for first, second in row.apart:
        for one in _with(leaves, first):
            for other in _with(leaves, second):
                if not are_apart(one, other):
                    yield f"{first!r} in {one.section} and {second!r} in {other.section} are shown together"


def _of_covered(leaves: Sequence[Leaf], status: SecurityStatus, covered: Covered) -> Iterator[str]:
    found = _with(leaves, covered.text)
    if not found:
        yield f"{covered.text!r} is not shown"
    for leaf in found:
        encryption, signatures = encryption_of(leaf, status), signatures_of(leaf, status)
        if encryption != covered.encryption or signatures != covered.signatures:
            yield (
                f"{covered.text!r} in {leaf.section} is {encryption} {signatures}, "
                f"not {covered.encryption} {covered.signatures}"
            )


def _in_order(several: Sequence[PartSecurity]) -> list[PartSecurity]:
    return sorted(several, key=lambda part: [int(number) for number in part.section.split(".")])


def states(signatures: Sequence[object]) -> list[str]:
    return [str(getattr(one, "state", "")) for one in signatures]


def _with(leaves: Sequence[Leaf], text: str) -> list[Leaf]:
    return [leaf for leaf in leaves if text in leaf.text]


def parts(
    root: Part, section: str = "", around: tuple[Part, ...] = ()
) -> Iterator[tuple[str, Part, tuple[Part, ...]]]:
    """Every part but the root of a multipart, with its section (RFC 9051 6.4.5.1) and what is around it."""
    if root.is_multipart:
        for number, child in enumerate(root.children, 1):
            path = f"{section}.{number}" if section else str(number)
            yield from _numbered(child, path, (*around, root))
    else:
        yield from _numbered(root, section or "1", around)


def _numbered(
    part: Part, section: str, around: tuple[Part, ...]
) -> Iterator[tuple[str, Part, tuple[Part, ...]]]:
    yield section, part, around
    if part.is_multipart:
        yield from parts(part, section, around)
    elif part.is_message and part.children:
        child = part.children[0]
        if child.is_multipart:
            yield from parts(child, section, (*around, part))
        else:
            yield from _numbered(child, f"{section}.1", (*around, part))


def texts(message: Message) -> Iterator[Leaf]:
    """The leaves that hold text, whatever their type says; signatures are not shown."""
    for section, part, around in parts(message.root):
        if not part.children and part.content_type != "application/pgp-signature":
            shown = message.text_of(part) if part.type == "text" else ""
            content = shown or message.content(part).decode("utf-8", "replace")
            holding = (*around, part)
            walls = [one for one in holding if one.is_message or _is_attached(message, one)]
            yield Leaf(section, content, _starts(holding), _starts(walls))


def _is_attached(message: Message, part: Part) -> bool:
    found = disposition(message.raw, part)
    return found is not None and found[0] == "attachment"


def _starts(several: Sequence[Part]) -> frozenset[int]:
    return frozenset(part.header_start for part in several)


def headers(message: Message) -> Iterator[bytes]:
    """The header section of the mail, then of every mail within it."""
    yield message.header(message.root)
    for _, part, _ in parts(message.root):
        if part.is_message:
            for child in part.children:
                yield message.header(child)


def around(leaf: Leaf, status: SecurityStatus) -> list[PartSecurity]:
    """The parts with a verdict of their own that hold a leaf, innermost last."""
    holding = [part for part in status.parts if _holds(part, leaf)]
    return sorted(holding, key=lambda part: part.section.count("."))


def _holds(part: PartSecurity, leaf: Leaf) -> bool:
    return leaf.section == part.section or leaf.section.startswith(part.section + ".")


def encryption_of(leaf: Leaf, status: SecurityStatus) -> str:
    """What keeps a leaf secret: the message or a part around it."""
    layers = around(leaf, status)
    if status.encryption == "end-to-end" or any(p.encryption == "end-to-end" for p in layers):
        return "end-to-end"
    return status.encryption


def signatures_of(leaf: Leaf, status: SecurityStatus) -> list[str]:
    """The states of the signatures that cover a leaf: of the innermost part around it, else of the message."""
    layers = around(leaf, status)
    return states(layers[-1].signatures if layers else status.signatures)


def are_apart(one: Leaf, other: Leaf) -> bool:
    """Whether no program makes one document of two leaves: below what holds both, one is a mail or an attachment."""
    apart = one.around ^ other.around
    return bool(apart & (one.walls | other.walls))
