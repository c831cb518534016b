"""Which layer of a message covers one of its parts. Pure."""

from __future__ import annotations

from typing import Literal

from leap.mail.contract import PartSecurity, SecurityStatus


def security_of_part(status: SecurityStatus, number: str) -> PartSecurity:
    """What may be believed of the part of this number, as IMAP counts; `section` is that number.

    Signatures are those of the innermost layer around it alone: who signed what lies around an encrypted message
    did not sign its text. It is "end-to-end" when any layer around it was.
    """
    around = [one for one in status.parts if _holds(one.section, number)]
    layers: list[SecurityStatus | PartSecurity] = [status, *sorted(around, key=_depth)]
    innermost = layers[-1]
    said = [one.encryption for one in layers]
    encryption: Literal["end-to-end", "undecryptable", "none"] = "none"
    if innermost.encryption == "undecryptable":
        encryption = "undecryptable"
    elif "end-to-end" in said:
        encryption = "end-to-end"
    return PartSecurity(
        section=number,
        encryption=encryption,
        signatures=innermost.signatures,
        note=innermost.note,
    )


def _holds(section: str, number: str) -> bool:
    return number == section or number.startswith(f"{section}.")


def _depth(known: PartSecurity) -> int:
    return known.section.count(".")
