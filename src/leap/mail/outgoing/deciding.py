"""The decision about a mail as things stand: keys looked up, the account's rules, each contact's policy, its own wish.

`policy` has the table; here is what it is asked with.

Invariants:
* Rules and policies are read after the look-up, which takes long enough for a person to forbid clear text meanwhile.
* A mail that asks to go in clear may quote what it likes: who says that of this one mail knows what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from leap.mail.outgoing.addresses import domain_of, normal, without_tag
from leap.mail.outgoing.answered import Answered
from leap.mail.outgoing.field_lines import Field
from leap.mail.outgoing.policy import (
    Decision,
    Encrypt,
    KeyState,
    Mixed,
    Policy,
    Recipient,
    Refuse,
    Unclear,
    decide,
    policy_named,
    stricter,
)
from leap.mail.outgoing.recipient_keys import LOOKUP_SECONDS, Keys, Looked, look_up, names_of
from leap.mail.outgoing.rules import Rules
from leap.mail.outgoing.wish import Wish

_NOT_ASKED: KeyState = Unclear("its key was not looked for")


@dataclass(frozen=True, slots=True)
class Decided:
    """`looked`: what is known of each recipient's key, in order."""

    decision: Decision
    looked: Sequence[Looked]


class Deciding:
    """Decides about the mail of one account."""

    def __init__(self, keys: Keys, rules: Rules, answered: Answered, address: str) -> None:
        self._keys = keys
        self._rules = rules
        self._answered = answered
        self._domain = domain_of(address)

    async def decide(
        self,
        recipients: Sequence[str],
        wish: Wish,
        fields: Sequence[Field],
        *,
        now: float,
        seconds: float = LOOKUP_SECONDS,
    ) -> Decided:
        """About a mail with this header, which asks for `wish`; looking for keys takes at most `seconds`."""
        if set((await self._wishes(recipients, wish)).values()) == {"never"}:
            looked = [Looked(one, _NOT_ASKED) for one in recipients]
        else:
            looked = await look_up(
                self._keys, recipients, own_domain=self._domain, now=now, seconds=seconds
            )
        policies = await self._wishes(recipients, wish)
        rules = await self._rules.load()
        mixed: Mixed = "split" if wish.encrypt == "split" else rules.mixed
        asked = [Recipient(one.address, one.state, policies[one.address]) for one in looked]
        decision = decide(asked, mixed=mixed)
        if isinstance(decision, Encrypt | Refuse):
            return Decided(decision, looked)  # nobody gets it readable: the rest matters not
        quotes = (
            wish.encrypt != "never"
            and rules.replies == "refuse"
            and await self._answered.encrypted(fields)
        )
        signing = await self._signing(recipients, wish)
        asked = [replace(one, sign=signing[one.address]) for one in asked]
        return Decided(decide(asked, mixed=mixed, answers_encrypted=quotes), looked)

    async def _wishes(self, recipients: Sequence[str], wish: Wish) -> dict[str, Policy]:
        """The policy for each recipient, as the person set it last on any device."""
        default = (await self._rules.load()).encrypt
        bases = {one: without_tag(normal(one)) for one in recipients}
        known = await self._keys.policies(self._names(recipients) | set(bases.values()))
        wishes = {}
        for one in recipients:
            word = self._first(known, one)
            if word is None and known.get(bases[one]) == "require":
                word = "require"  # elsewhere a +tag may be anybody; that is no reason to be less careful
            wishes[one] = stricter(policy_named(word, default), wish.encrypt)
        return wishes

    async def _signing(self, recipients: Sequence[str], wish: Wish) -> dict[str, bool]:
        """Whether clear text for each recipient is to be signed."""
        if wish.sign is not None:
            return dict.fromkeys(recipients, wish.sign)
        default = (await self._rules.load()).sign
        known = await self._keys.signing(self._names(recipients))
        words = {"on": True, "off": False}
        return {one: words.get(self._first(known, one) or "", default) for one in recipients}

    def _names(self, recipients: Sequence[str]) -> set[str]:
        return {name for one in recipients for name in names_of(one, self._domain)}

    def _first(self, known: Mapping[str, str], address: str) -> str | None:
        """What the most exact name of a recipient has there."""
        return next(
            (found for name in names_of(address, self._domain) if (found := known.get(name))), None
        )
