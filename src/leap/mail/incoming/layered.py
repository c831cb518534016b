"""What opening made of one message: the message as it is served, what covers it, and what covers only a part of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from leap.mail.contract import PartSecurity, SignatureVerdict

Encryption = Literal["end-to-end", "undecryptable", "none"]


class Mark(NamedTuple):
    """What is known of a part of a message; `offset` is where the header of the part begins in it.

    `status` has no section yet: numbers are given when the message is whole.
    """

    offset: int
    content_type: str
    status: PartSecurity

    def moved(self, by: int) -> Mark:
        return self._replace(offset=self.offset + by)


def mark(
    offset: int,
    content_type: str,
    encryption: Encryption,
    signatures: tuple[SignatureVerdict, ...] = (),
    note: str = "",
) -> Mark:
    """What is known of the part whose header begins at `offset`."""
    status = PartSecurity(section="", encryption=encryption, signatures=signatures, note=note)
    return Mark(offset, content_type, status)


@dataclass(frozen=True, slots=True)
class Layered:
    """A message opened. `message` is as it will be served, but for the fields that are ours.

    `encryption` and `signatures` are those of the layers that cover all it shows; `marks` are about its parts.
    `changed`: its body is not what came, so what came is kept, too. The rest is as in `opening.Opened`.
    """

    message: bytes = field(repr=False)
    encryption: Encryption = "none"
    signatures: tuple[SignatureVerdict, ...] = ()
    note: str = ""
    marks: tuple[Mark, ...] = ()
    headers_protected: bool = False
    differ: tuple[str, ...] = ()
    html: bool = False
    changed: bool = False
    inner_header: bytes | None = field(default=None, repr=False)
    from_address: str | None = field(default=None, repr=False)
    attached_signer: bytes | None = field(default=None, repr=False)

    def noting(self, note: str) -> Layered:
        """The same with a further sentence for people."""
        return replace(self, note=" ".join(one for one in (self.note, note) if one))
