"""Each mail made a part of another one: nothing vouches for text beside it, no secret is shown in its document."""

from __future__ import annotations

import pytest

from leap.mail.message import Message
from tests.mail.incoming.attacks.inserting import MARK, vouched
from tests.mail.incoming.attacks.test_attacks import FOLDER, ring
from tests.mail.incoming.attacks.test_inserting import SMALL
from tests.mail.incoming.attacks.wrapping import WRAPPERS, wrapped, wrapped_by_eve
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.verdicts.judging import around, encryption_of, lies, signatures_of, texts


@pytest.mark.parametrize("how", WRAPPERS)
async def test_nothing_vouches_for_what_stands_beside_it(how: str) -> None:
    for row in SMALL:
        raw = (FOLDER / row.file).read_bytes()
        one = await open_with_look_ups(wrapped(raw, how), ring())
        assert vouched(one) + lies(one) == [], row.file


@pytest.mark.parametrize("how", ["mixed", "attached", "related"])
async def test_nor_when_it_is_wrapped_twice(how: str) -> None:
    for number, row in enumerate(SMALL):
        raw = (FOLDER / row.file).read_bytes()
        within = list(WRAPPERS)[number % len(WRAPPERS)]
        one = await open_with_look_ups(wrapped(wrapped(raw, within), how), ring())
        assert vouched(one) + lies(one) == [], (row.file, within)


@pytest.mark.parametrize("how", ["signed", "encrypted"])
async def test_what_eve_signs_around_it_is_hers_alone(how: str) -> None:
    """Her text beside the mail has her good signature; what she could not read has its own verdict."""
    for row in SMALL:
        one = await open_with_look_ups(
            wrapped_by_eve((FOLDER / row.file).read_bytes(), how), ring()
        )
        assert lies(one) == [], row.file
        status = one.security
        assert [signature.state for signature in status.signatures] == ["good"], row.file
        for leaf in texts(Message(one.served)):
            if MARK in leaf.text:
                assert signatures_of(leaf, status) == ["good"], row.file
            elif how == "signed" and encryption_of(leaf, status) == "end-to-end":
                assert around(leaf, status), row.file
