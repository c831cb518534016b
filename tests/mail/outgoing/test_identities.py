"""An account sends as its own address and its aliases, with any +tag, and as nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leap.bitmask.alias_care import AliasCare
from leap.mail.contract import NotPermitted
from leap.mail.outgoing.field_lines import header_fields, values_of
from leap.mail.outgoing.identities import is_one_of, named
from leap.soledad.errors import Unreachable
from tests.mail.travel import DOMAIN, Person, mail

ALICE, BOB, SALES = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "sales"))
EVE = "eve@elsewhere.test"


@pytest.mark.parametrize("sender", [SALES, f"Sales+x@{DOMAIN}"])
async def test_an_alias_is_accepted_once_the_provider_gave_it(
    alice: Person, bob: Person, sender: str
) -> None:
    with pytest.raises(NotPermitted, match=f"sends as {ALICE} only"):
        await alice.outgoing.submit(mail(sender=sender), sender, [BOB])
    await alice.outgoing.identities.keep_aliases([SALES])
    await alice.outgoing.submit(mail(sender=sender), sender, [BOB])
    await alice.sender.process_due()
    ((_, envelope, _, message),) = alice.provider.submitted
    assert envelope == sender
    assert values_of(header_fields(message), "from") == [f"Alice <{sender}>".encode()]
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.endswith(mail(sender=sender))


async def test_envelope_and_from_may_be_two_of_them(alice: Person) -> None:
    await alice.outgoing.identities.keep_aliases([SALES])
    await alice.outgoing.submit(mail(sender=SALES, to=EVE), ALICE, [EVE])
    await alice.outgoing.submit(mail(sender=ALICE, to=EVE, body=b"2"), SALES, [EVE])


async def test_a_refusal_names_the_addresses(alice: Person) -> None:
    await alice.outgoing.identities.keep_aliases([SALES])
    with pytest.raises(NotPermitted, match=f"sends as {ALICE} and {SALES} only"):
        await alice.outgoing.submit(mail(sender=BOB), BOB, [EVE])
    with pytest.raises(NotPermitted, match=f"From is not {ALICE} and {SALES}"):
        await alice.outgoing.submit(mail(sender=BOB), ALICE, [EVE])


async def test_an_alias_that_was_taken_away_is_refused(alice: Person) -> None:
    assert await alice.outgoing.identities.keep_aliases([SALES])
    assert not await alice.outgoing.identities.keep_aliases([SALES])
    assert await alice.outgoing.identities.keep_aliases([])
    with pytest.raises(NotPermitted):
        await alice.outgoing.submit(mail(sender=SALES), SALES, [EVE])


async def test_what_the_provider_says_is_kept_until_it_says_something_else(alice: Person) -> None:
    answers: list[Sequence[str] | Exception] = [[SALES, ALICE, "a b@x"], Unreachable("offline"), []]

    async def ask() -> Sequence[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    care = AliasCare(ask, alice.outgoing.identities.keep_aliases)
    assert await care.look()
    assert await alice.account.addresses() == [ALICE, SALES]
    assert not await care.look()
    assert await alice.account.addresses() == [ALICE, SALES]
    assert await care.look()
    assert await alice.account.addresses() == [ALICE]


def test_only_the_very_address_counts() -> None:
    own = [ALICE, SALES]
    assert is_one_of("ALICE+x@example.test", own)
    assert not is_one_of("alice@example.test.evil", own)
    assert not is_one_of("xalice@example.test", own)
    assert named([f"a{n}@x" for n in range(7)]).endswith("a4@x and 2 more")
