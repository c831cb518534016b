"""The OpenPGP layers below the top of a message, each opened at its place in the tree. Pure.

    multipart/encrypted, or its halves   -> message/rfc822: the fields people see, and the decrypted entity
    multipart/signed                     -> stays; what is known is about its first part
    inline message in a text             -> the text in pieces; the decrypted one is a message/rfc822
    cleartext-signed text in a text      -> the text in pieces; the signed one is a part of its own
    message/rfc822                       -> opened as a message of its own, reserved fields of its header gone

Invariants (docs/decisions/0013):
* Decrypted and clear text never stand in one document: what is decrypted below the top is an attached message.
* Where a program shows one of several parts, or makes a page of them (alternative, related), nothing is decrypted.
* What is not replaced stays octet for octet. What does not fit into its place stays as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from leap.mail.incoming.inline import Piece, has_blocks, is_blank, pieces
from leap.mail.incoming.layered import Layered, Mark, mark
from leap.mail.incoming.layers import SIDE_BY_SIDE, ciphertext_of, halves, readable
from leap.mail.incoming.shown_sender import ShownSender, shown_sender
from leap.mail.incoming.signed import signed_in
from leap.mail.incoming.splicing import (
    Edit,
    Entity,
    attached_message,
    boundary_of,
    charset_of,
    covered_charset,
    fits,
    mixed_entity,
    splice,
    text_entity,
    with_content,
)
from leap.mail.incoming.verdicts import Judge
from leap.mail.message.decoding import decode_body
from leap.mail.message.header_lines import begins_field
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.field_lines import header_fields, is_plain, join_fields

_SHOWN = frozenset({"from", "to", "cc", "date", "subject"})
_IDENTITY = frozenset({"7bit", "8bit", "binary"})
HIDDEN = "It stands among parts that a mail program shows as one, so it is kept as it came."
_DOES_NOT_FIT = "Its text could be taken for another part of the mail, so it is kept as it came."
_FILE = "decrypted.eml"


class Opener(Protocol):
    """Who opens what is found: `chain.Chain`."""

    judge: Judge

    def without_forged(self, message: bytes) -> bytes: ...

    def message(self, raw: bytes, depth: int, *, may_open: bool = True) -> Layered: ...

    def encrypted(self, outer: bytes, ciphertext: bytes, depth: int) -> Layered: ...

    def inline(self, outer: bytes, ciphertext: bytes, charset: str) -> Layered: ...


class Deeper:
    """Goes through the parts of one message."""

    def __init__(
        self, message: bytes, opener: Opener, sender: ShownSender | None, depth: int
    ) -> None:
        """`sender` is whom the From of the message names, if that was looked for already."""
        self._message = message
        self._opener = opener
        self._known_sender = sender
        self._depth = depth
        self._edits: list[Edit] = []
        self._marks: list[Mark] = []
        self._html = False

    @cached_property
    def _sender(self) -> ShownSender:
        return self._known_sender or shown_sender(self._message)

    def open(self, root: Part, *, may_open: bool) -> Layered:
        """The message, the part `root` of it and those below opened."""
        if root.header_start == 0 and not root.children:
            entity = self._text(root, (), may_open)
            plain = Entity(self._message, tuple(self._marks))
            made = plain if entity is None else with_content(self._message, entity)
        else:
            around = self._boundaries_around(root)
            self._visit(root, around, may_open)
            made = splice(self._message, self._edits, self._marks)
        changed = made.octets != self._message
        return Layered(made.octets, marks=made.marks, html=self._html, changed=changed)

    def _boundaries_around(self, root: Part) -> list[bytes]:
        """Those of the multiparts in which `root` is the first part."""
        found: list[bytes] = []
        if root.header_start == 0:
            return found
        part = scan(self._message)
        while part.header_start != root.header_start and part.children:
            found.append(boundary_of(part))
            part = part.children[0]
        return found

    def _visit(self, part: Part, boundaries: Sequence[bytes], may_open: bool) -> None:
        """The scanner bounds the depth of this recursion."""
        if part.is_multipart:
            self._multipart(part, (*boundaries, boundary_of(part)), boundaries, may_open)
        elif part.is_message:
            self._attached(part, boundaries, may_open)
        elif (entity := self._text(part, boundaries, may_open)) is not None:
            self._edits.append(Edit(part.header_start, part.end, entity))

    def _multipart(
        self,
        part: Part,
        inside: Sequence[bytes],
        around: Sequence[bytes],
        may_open: bool,
    ) -> None:
        children = list(part.children)
        if part.subtype == "encrypted":
            ciphertext = ciphertext_of(self._message, part)
            if ciphertext is not None:
                self._encrypted(part, part.end, ciphertext, around, may_open)
                return
        may_open = may_open and part.subtype in SIDE_BY_SIDE
        if part.subtype == "mixed" and (pair := halves(self._message, children)) is not None:
            first, ciphertext = pair
            end = children[first + 1].end
            self._encrypted(children[first], end, ciphertext, inside, may_open)
            del children[first : first + 2]
        if part.subtype == "signed" and (found := signed_in(self._message, part)) is not None:
            judged = self._opener.judge.detached(found.signed, found.signature, self._sender)
            content = found.content
            self._mark(content, mark(0, "", "none", judged.verdicts))
            children = [content]
        for child in children:
            self._visit(child, inside, may_open)

    def _mark(self, part: Part, known: Mark) -> None:
        self._marks.append(known._replace(offset=part.header_start, content_type=part.content_type))

    def _encrypted(
        self,
        first: Part,
        end: int,
        ciphertext: bytes,
        boundaries: Sequence[bytes],
        may_open: bool,
    ) -> None:
        """A layer which begins with the part `first` and ends at `end`."""
        note = HIDDEN
        if may_open:
            opened = self._opener.encrypted(self._outer, ciphertext, self._depth + 1)
            note = opened.note
            if opened.encryption == "end-to-end":
                entity = self._decrypted(opened)
                if fits(entity.octets, boundaries):
                    self._html = self._html or opened.html
                    self._edits.append(Edit(first.header_start, end, entity))
                    return
                note = _DOES_NOT_FIT
        self._mark(first, mark(0, "", "undecryptable", note=note))

    def _decrypted(self, opened: Layered) -> Entity:
        entity = attached_message(opened.message, _FILE, opened.marks)
        own = mark(0, "message/rfc822", opened.encryption, opened.signatures, opened.note)
        return Entity(entity.octets, (own, *entity.marks))

    @cached_property
    def _outer(self) -> bytes:
        """What of the header of the message around it a decrypted part is shown with."""
        fields = header_fields(self._message)
        return (
            join_fields(one for one in fields if one.name in _SHOWN and is_plain([one]))
            + b"MIME-Version: 1.0\r\n\r\n"
        )

    def _attached(self, part: Part, boundaries: Sequence[bytes], may_open: bool) -> None:
        [child] = part.children
        as_it_stands = self._message[child.header_start : child.end]
        # base64 has no colon: then the label is a lie, and readers differ in whether they believe it
        plain = part.encoding in _IDENTITY or (
            part.encoding == "base64" and begins_field(as_it_stands)
        )
        came = as_it_stands if plain else decode_body(self._message, part)
        opened = self._opener.message(came, self._depth + 1, may_open=may_open)
        status = mark(0, part.content_type, opened.encryption, opened.signatures, opened.note)
        # RFC 2046 5.2.1 forbids to encode a message: some programs read what stands there
        two_readings = not plain and self._opener.without_forged(as_it_stands) != as_it_stands
        if opened.message != came or two_readings:
            header = self._message[part.header_start : part.body_start]
            if not plain:
                fields = [
                    one for one in header_fields(header) if one.name != "content-transfer-encoding"
                ]
                header = join_fields(fields) + b"\r\n"
            moved = tuple(one.moved(len(header)) for one in opened.marks)
            own = (status,) if _says_something(status) else ()
            entity = Entity(header + opened.message, (*own, *moved))
            if fits(opened.message, boundaries):
                self._html = self._html or opened.html
                self._edits.append(Edit(part.header_start, part.end, entity))
                return
            status = mark(0, part.content_type, "undecryptable", note=_DOES_NOT_FIT)
        elif plain:
            self._marks += (one.moved(child.header_start) for one in opened.marks)
        if _says_something(status):
            self._mark(part, status)

    def _text(self, part: Part, boundaries: Sequence[bytes], may_open: bool) -> Entity | None:
        """What takes the place of a text with blocks in it; None: it stays as it came."""
        text = readable(self._message, part)
        if text is None or not has_blocks(text):
            return None
        found = [one for one in pieces(text) if one.kind != "text" or not is_blank(text, one)]
        if not may_open:
            if any(one.kind == "message" for one in found):
                self._mark(part, mark(0, "", "undecryptable", note=HIDDEN))
            return None
        charset = charset_of(part)
        entities = [self._piece(text, one, charset) for one in found]
        opened = [one for one in entities if one.marks]
        if not opened or all(one.marks[0].status.encryption == "undecryptable" for one in opened):
            if opened:
                self._mark(part, mark(0, "", "undecryptable", note=opened[0].marks[0].status.note))
            return None
        entity = entities[0] if len(entities) == 1 else mixed_entity(entities)
        if not fits(entity.octets, boundaries):
            self._mark(part, mark(0, "", "undecryptable", note=_DOES_NOT_FIT))
            return None
        return entity

    def _piece(self, text: bytes, piece: Piece, charset: str) -> Entity:
        octets = text[piece.start : piece.end]
        if piece.kind == "text":
            return text_entity(octets, charset)
        if piece.cleartext is not None:
            signed = piece.cleartext.text
            judged = self._opener.judge.signatures(
                signed, piece.cleartext.signatures, self._sender, entity=None
            )
            known = mark(0, "text/plain", "none", judged.verdicts)
            return text_entity(signed + b"\r\n", covered_charset(signed, charset), [known])
        opened = self._opener.inline(self._outer, octets, charset)
        if opened.encryption == "undecryptable":
            known = mark(0, "text/plain", "undecryptable", note=opened.note)
            return text_entity(octets, charset, [known])
        return self._decrypted(opened)


def _says_something(known: Mark) -> bool:
    return known.status.encryption != "none" or bool(known.status.signatures)
