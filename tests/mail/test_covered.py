"""Which layer covers a part of a message."""

from __future__ import annotations

import pytest

from leap.mail.contract import PartSecurity, SecurityStatus, SignatureVerdict
from leap.mail.covered import security_of_part

GOOD = (SignatureVerdict(state="good"),)
BAD = (SignatureVerdict(state="bad"),)


def part(
    section: str, encryption: str, signatures: tuple[SignatureVerdict, ...] = ()
) -> PartSecurity:
    return PartSecurity(section=section, encryption=encryption, signatures=signatures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("whole", "parts", "number", "expected"),
    [
        ("end-to-end", (), "1", ("end-to-end", GOOD)),
        ("provider", (), "2.1", ("none", GOOD)),
        ("local", (), "1", ("none", GOOD)),
        ("undecryptable", (), "1", ("undecryptable", GOOD)),
        ("provider", (part("2", "end-to-end"),), "2.1", ("end-to-end", ())),
        ("provider", (part("2", "end-to-end"),), "2", ("end-to-end", ())),
        ("provider", (part("2", "end-to-end"),), "21", ("none", GOOD)),
        (
            "provider",
            (part("2", "end-to-end", BAD), part("2.1", "none")),
            "2.1",
            ("end-to-end", ()),
        ),
        ("end-to-end", (part("2", "undecryptable"),), "2.2", ("undecryptable", ())),
        ("end-to-end", (part("2", "none", BAD),), "2", ("end-to-end", BAD)),
        ("end-to-end", (part("2", "none", BAD),), "1", ("end-to-end", GOOD)),
    ],
)
def test_the_innermost_layer_around_a_part_says_who_signed_it(
    whole: str,
    parts: tuple[PartSecurity, ...],
    number: str,
    expected: tuple[str, tuple[SignatureVerdict, ...]],
) -> None:
    status = SecurityStatus(encryption=whole, signatures=GOOD, parts=parts)  # type: ignore[arg-type]
    found = security_of_part(status, number)
    assert (found.section, found.encryption, found.signatures) == (number, *expected)
