"""What goes wrong beside the storing of mail keeps no mail back."""

from __future__ import annotations

import pytest

from leap.mail.incoming import lots
from tests.mail.incoming.test_pipeline import BOB, drain, letter, numbers
from tests.mail.travel import Person


@pytest.mark.parametrize("together", [1, 3])
async def test_a_fault_in_noting_a_signature_keeps_no_mail_back_and_the_next_mail_notes_it(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(lots, "FEW", together)
    noted: list[set[str]] = []

    async def fails_first(addresses: set[str]) -> None:
        noted.append(set(addresses))
        if len(noted) == 1:
            raise ZeroDivisionError

    monkeypatch.setattr(bob.keys, "note_signed", fails_first)
    for number in range(2 * together):
        await alice.outgoing.submit(letter(number), alice.address, [BOB])
    await alice.sender.process_due()
    await drain(bob)
    assert numbers(await bob.messages()) == list(range(2 * together))
    assert await bob.incoming.quarantined.items() == []
    assert noted == [{alice.address}] * 2
