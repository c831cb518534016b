"""From the top of a message inwards, as long as each layer is all that the one before holds. Pure.

    encrypted -> what it holds, put together as it will be served -> the same question again
    signed    -> judged; what it holds is looked through for parts
    inline    -> its text, and nothing further
    else      -> its parts (`deeper`)

Invariants:
* Only such layers speak for the message; whatever lies deeper speaks for its part.
* A signature made over an encrypted message says nothing of who wrote what is in it: it counts for nothing.
* A protected From that differs from the outer one is believed only with a good signature (RFC 9788 4.4).
* A message is opened to `MAX_DEPTH` layers, `MAX_OPENED` of them, and `MAX_PLAINTEXT` octets in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leap.keymanager.openpgp import (
    Decrypted,
    NotEncrypted,
    OpenPGPError,
    SecretKey,
    TooLarge,
    decrypt,
    read_signed,
)
from leap.mail.contract import SignatureVerdict
from leap.mail.incoming.assembly import (
    Assembled,
    assemble,
    assemble_unprotected,
    with_signed_header,
)
from leap.mail.incoming.deeper import HIDDEN, Deeper
from leap.mail.incoming.inline import Piece
from leap.mail.incoming.layered import Layered
from leap.mail.incoming.layers import Top, has_html, top_of
from leap.mail.incoming.security_fields import without_forged
from leap.mail.incoming.shown_sender import ShownSender, sender_with, shown_sender
from leap.mail.incoming.signed import SignedParts, signed_in
from leap.mail.incoming.splicing import (
    charset_of,
    covered_charset,
    crlf,
    text_entity,
    with_content,
)
from leap.mail.incoming.verdicts import Judge, Judged, sentence
from leap.mail.message.header_lines import empty_line
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.field_lines import header_fields

MAX_DEPTH = 8  # layers and messages in one another; real mail has three
MAX_NESTED = 16  # messages in messages whose reserved fields are looked for
MAX_OPENED = 32  # OpenPGP messages in one mail; a digest has some
MAX_INNER_HEADER = 256 * 1024  # octets looked through; one with 64 keys of gossip has some 70 kB
MAX_PLAINTEXT = 64 * 1024 * 1024  # octets a mail may unpack to; 50 MiB travel
_TOO_DEEP = "It lies in more layers than are opened; it is kept as it came."
_OVER_CIPHERTEXT = (
    "A signature around the encryption is not shown: it does not tell who wrote what is inside."
)
_UNBACKED = "The protected From differs from the outer one and no signature backs it."


class Chain:
    """Opens one mail, and the messages in it."""

    def __init__(
        self, own_keys: Sequence[SecretKey], judge: Judge, own_domain: str, *, parts: bool
    ) -> None:
        """`parts`: whether layers below the top are opened, too."""
        self.judge = judge
        self._own_keys = own_keys
        self._own_domain = own_domain
        self._parts = parts
        self._left = MAX_OPENED
        self._room = MAX_PLAINTEXT

    def message(
        self, raw: bytes, depth: int, *, may_open: bool = True, inside: bool = False
    ) -> Layered:
        """A message as it came; `inside`: it came out of an encryption that covers all of it."""
        message = without_forged(raw, self._own_domain)
        root = scan(message)
        top = top_of(message, root)
        hides = top.ciphertext is not None or (
            top.block is not None and top.block.kind == "message"
        )
        too_deep = depth > MAX_DEPTH
        if hides and (too_deep or not may_open):
            return Layered(message, "undecryptable", note=_TOO_DEEP if too_deep else HIDDEN)
        if depth > MAX_NESTED:
            return Layered(message)
        may_open = may_open and not too_deep
        if top.ciphertext is not None:
            return self.encrypted(message, top.ciphertext, depth)
        if top.smime:
            return Layered(
                message, "undecryptable", note="S/MIME encrypted; it is kept as it came."
            )
        if top.block is not None and may_open:
            return self._block(message, root, top, top.block)
        if top.fault:
            bad = SignatureVerdict(state="bad", reason=top.fault)
            return Layered(message, signatures=(bad,))
        if (signed := signed_in(message, root)) is not None:
            return self._signed(message, root, signed, depth, inside=inside)
        return self._deeper(message, root, None, depth, may_open=may_open)

    def without_forged(self, message: bytes) -> bytes:
        """A message without fields in our name in its header."""
        return without_forged(message, self._own_domain)

    # -- encrypted

    def encrypted(self, outer: bytes, ciphertext: bytes, depth: int) -> Layered:
        """What an OpenPGP message holds, put together with the header around it; `outer` when it stays closed."""
        try:
            opened = self._decrypt(ciphertext, depth)
        except OpenPGPError as error:
            return Layered(outer, "undecryptable", note=sentence(error))
        payload = opened.plaintext
        assembled = assemble(outer, payload, self._own_domain)
        judged = self.judge.signatures(
            payload,
            opened.signatures,
            sender_with(assembled.message, assembled.from_address),
            entity=assembled.message,
            encrypted=True,
        )
        inner = self.message(assembled.message, depth + 1, inside=True)
        signatures, signer = judged.verdicts, judged.attached_signer
        note = ""
        if inner.encryption == "none":
            signatures = (*signatures, *inner.signatures)
            signer = signer or inner.attached_signer
        else:
            note = _OVER_CIPHERTEXT if signatures else ""
            signatures, signer = inner.signatures, inner.attached_signer
        if _from_differs(assembled) and not any(one.state == "good" for one in signatures):
            # a key that came along must not be learnt for a From which is not served
            signer, note = None, _UNBACKED
            # The verdicts stay those about the From inside: it is what was signed, or was not.
            differ = assembled.differ
            assembled = replace(
                assemble_unprotected(outer, payload, self._own_domain), differ=differ
            )
            inner = self.message(assembled.message, depth + 1, inside=True)
        head = payload[:MAX_INNER_HEADER]
        made = replace(
            inner,
            encryption="undecryptable" if inner.encryption == "undecryptable" else "end-to-end",
            signatures=signatures,
            headers_protected=assembled.headers_protected or inner.headers_protected,
            differ=tuple(sorted({*assembled.differ, *inner.differ})),
            html=inner.html or has_html(inner.message),
            changed=True,
            inner_header=head[: empty_line(head)],
            from_address=assembled.from_address and (inner.from_address or assembled.from_address),
            attached_signer=signer,
        )
        return made.noting(note)

    def _decrypt(self, ciphertext: bytes, depth: int) -> Decrypted:
        if depth > MAX_DEPTH or self._left <= 0 or self._room <= 0:
            raise TooLarge(_TOO_DEEP)
        self._left -= 1
        opened = decrypt(ciphertext, self._own_keys, max_size=self._room)
        self._room -= len(opened.plaintext)
        return opened

    # -- inline

    def inline(self, outer: bytes, ciphertext: bytes, charset: str) -> Layered:
        """An inline message with the header around it: a text, never a MIME entity."""
        encryption: str = "end-to-end"
        try:
            try:
                opened = self._decrypt(ciphertext, 0)
                plaintext, signatures = opened.plaintext, opened.signatures
            except NotEncrypted:
                signed = read_signed(ciphertext, max_size=max(self._room, 1))
                self._room -= len(signed.plaintext)
                plaintext, signatures = signed.plaintext, signed.signatures
                encryption = "none"
        except OpenPGPError as error:
            return Layered(outer, "undecryptable", note=sentence(error))
        named = covered_charset(plaintext, charset)
        made = with_content(outer, text_entity(crlf(plaintext), named))
        judged = self.judge.signatures(
            plaintext,
            signatures,
            shown_sender(made.octets),
            entity=None,
            encrypted=encryption == "end-to-end",
        )
        return Layered(
            made.octets,
            "end-to-end" if encryption == "end-to-end" else "none",
            judged.verdicts,
            changed=True,
            from_address=shown_sender(made.octets).address,
        )

    def _block(self, message: bytes, root: Part, top: Top, block: Piece) -> Layered:
        charset = charset_of(root)
        if block.cleartext is None:
            ciphertext = top.text[block.start : block.end]
            opened = self.inline(message, ciphertext, charset)
            return opened if opened.changed else replace(opened, message=message)
        made = with_content(
            message,
            text_entity(
                block.cleartext.text + b"\r\n", covered_charset(block.cleartext.text, charset)
            ),
        )
        judged = self.judge.signatures(
            block.cleartext.text,
            block.cleartext.signatures,
            shown_sender(made.octets),
            entity=None,
        )
        return Layered(made.octets, "none", judged.verdicts, changed=True)

    # -- signed

    def _signed(
        self, message: bytes, root: Part, signed: SignedParts, depth: int, *, inside: bool
    ) -> Layered:
        if signed.content.subtype == "encrypted" and signed.content.is_multipart:
            return self._signed_ciphertext(message, signed, depth)
        came, sender = message, shown_sender(message)
        judged = self._all_signatures(message, signed, sender)
        differ: tuple[str, ...] = ()
        covered = False
        if (protected := with_signed_header(message, signed.signed, inside=inside)) is not None:
            theirs = shown_sender(protected.message)
            again = judged
            if theirs != sender:
                again = self._all_signatures(message, signed, theirs)
            forged = any(one.state == "bad" for one in again.verdicts)
            differ = () if forged and not again.good else protected.differ
            if again.good or (inside and theirs.address == sender.address):
                message, judged, sender = protected.message, again, theirs
                root, covered = scan(message), True
        made = self._deeper(message, root, sender, depth, may_open=True, signed=True)
        return replace(
            made,
            signatures=judged.verdicts,
            headers_protected=covered,
            differ=differ,
            changed=made.changed or message is not came,
            from_address=sender.address,
            attached_signer=judged.attached_signer,
        )

    def _all_signatures(self, message: bytes, signed: SignedParts, sender: ShownSender) -> Judged:
        """Of a signed message whose content may be signed again, the outermost first."""
        judged = self.judge.detached(signed.signed, signed.signature, sender)
        verdicts, signer = judged.verdicts, judged.attached_signer
        for _ in range(MAX_DEPTH):
            within = signed_in(message, signed.content)
            if within is None:
                break
            signed = within
            more = self.judge.detached(signed.signed, signed.signature, sender)
            verdicts = (*verdicts, *more.verdicts)
        return Judged(verdicts, signer)

    def _signed_ciphertext(self, message: bytes, signed: SignedParts, depth: int) -> Layered:
        header = b"".join(
            one.raw
            for one in header_fields(message)  # plain ones: `signed_in` saw to that
            if not one.name.startswith("content-")
        )
        inner = self.message(header + signed.signed, depth + 1)
        if inner.encryption == "end-to-end":
            return inner.noting(_OVER_CIPHERTEXT)
        if inner.encryption == "undecryptable":
            return Layered(message, "undecryptable", note=inner.note).noting(_OVER_CIPHERTEXT)
        return Layered(message)

    # -- parts

    def _deeper(
        self,
        message: bytes,
        root: Part,
        sender: ShownSender | None,
        depth: int,
        *,
        may_open: bool,
        signed: bool = False,
    ) -> Layered:
        """`signed`: the message is so as a whole, and that was judged."""
        if not self._parts:
            return Layered(message)
        while signed and signed_in(message, root) is not None:
            root = root.children[0]
        return Deeper(message, self, sender, depth).open(root, may_open=may_open)


def _from_differs(assembled: Assembled) -> bool:
    return assembled.headers_protected and (
        assembled.from_address is None or assembled.from_address != assembled.outer_from
    )
