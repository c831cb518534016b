"""docs/security-status.md: what it says of the mails it names is what `bitmask mail show` says of them."""

from __future__ import annotations

import re

import msgspec

from leap.bitmask.cli.mail_reading import security_lines
from tests.conftest import ROOT
from tests.mail.incoming.attacks.test_attacks import FOLDER, ring
from tests.mail.incoming.look_ups import open_with_look_ups

PAGE = ROOT / "docs" / "security-status.md"
_CASE = re.compile(r"^\S.*  \[([a-z0-9/-]+)\]\n((?:  \S.*\n)+)", re.MULTILINE)
_STATES = ("good", "bad", "unknown-key", "expired", "revoked", "weak", "not-from")


async def test_each_case_is_told_as_the_page_says() -> None:
    cases = _CASE.findall(PAGE.read_text("utf-8"))
    assert len(cases) >= 20
    for file, lines in cases:
        raw = (FOLDER / f"{file}.eml").read_bytes()
        status = (await open_with_look_ups(raw, ring())).security
        told = "".join(f"  {line}\n" for line in security_lines(msgspec.to_builtins(status)))
        assert told == lines, file


def test_each_word_for_a_signature_is_shown_in_some_case() -> None:
    text = "".join(lines for _, lines in _CASE.findall(PAGE.read_text("utf-8")))
    assert [one for one in _STATES if f"{one} signature" not in text] == []
