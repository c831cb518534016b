"""Whether a mail may go, and how: encrypted to everybody, in clear to everybody, not at all, or not yet.

Pure. The whole decision, first match from the top:

    a recipient's key is unusable (expired, revoked, blocked, another one is offered for a verified one), and
    encryption is not "never"                                        -> Refuse, with the reason
    wishes differ: some "never", others not                          -> Refuse: never mixed
    all "never"                                                      -> Clear
    somebody has no key, somebody has one (or must have one)         -> Refuse, naming who has none
    somebody's key could not be looked up                            -> Wait
    all have keys                                                    -> Encrypt
    nobody has a key, somebody is "require"                          -> Refuse
    nobody has a key, all are "prefer"                               -> Clear

Invariants:
* Clear is answered only when every look-up said "there is no key" or the person said "never": a failure of
  any kind never leads to clear text.
* One answer for all recipients: a mail is never encrypted to some and in clear to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Policy = Literal["require", "prefer", "never"]
DEFAULT_POLICY: Policy = "prefer"
ASK = "Ask for a new key, or remove the recipient."


@dataclass(frozen=True, slots=True)
class Usable:
    """There is a key to encrypt to."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Every place that could know says there is no key."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """There is a key and it must not be used; `reason` as in "expired on 3 May 2026", `remedy` what helps."""

    reason: str
    remedy: str = ASK


@dataclass(frozen=True, slots=True)
class Unclear:
    """A place that could know did not answer; `reason` as in "the directory did not answer"."""

    reason: str


KeyState = Usable | Absent | Unusable | Unclear


@dataclass(frozen=True, slots=True)
class Recipient:
    address: str
    key: KeyState
    policy: Policy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Encrypt:
    """Encrypt and sign to all."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Send as it is, readable on the way."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not send; `sentence` tells the person why and what to do, naming who."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep it and decide again later."""

    sentence: str


Decision = Encrypt | Clear | Refuse | Wait


def decide(recipients: Sequence[Recipient]) -> Decision:
    """The answer of the table above for a mail to these recipients (at least one)."""
    if not recipients:
        return Refuse("The message has no recipients.")
    unusable = [r for r in recipients if isinstance(r.key, Unusable) and r.policy != "never"]
    if unusable:
        keys = [(r.address, r.key) for r in unusable if isinstance(r.key, Unusable)]
        reasons = "; ".join(f"the key of {address} {key.reason}" for address, key in keys)
        remedies = " ".join(dict.fromkeys(key.remedy for _, key in keys))
        return Refuse(f"Not sent: {reasons}. {remedies}")
    never = [r for r in recipients if r.policy == "never"]
    if len(never) == len(recipients):
        return Clear()
    if never:
        return Refuse(
            f"Not sent: mail to {_names(never)} is set never to be encrypted, to the others it is; "
            "send two messages."
        )
    absent = [r for r in recipients if isinstance(r.key, Absent)]
    usable = [r for r in recipients if isinstance(r.key, Usable)]
    if absent and usable:
        return Refuse(
            f"Not sent: no key was found for {_names(absent)}, while the other recipients have one; "
            "send them separate messages, so that nobody gets in clear what others get encrypted."
        )
    required = [r for r in recipients if r.policy == "require"]
    if absent and required:
        return Refuse(
            f"Not sent: no key was found for {_names(absent)}, and encryption is required for "
            f"{_names(required)}."
        )
    unclear = [r for r in recipients if isinstance(r.key, Unclear)]
    if unclear:
        reasons = "; ".join(
            f"{r.address}: {r.key.reason}" for r in unclear if isinstance(r.key, Unclear)
        )
        return Wait(f"Waiting for keys ({reasons}).")
    return Encrypt() if usable else Clear()


def policy_named(word: str | None) -> Policy:
    """The policy of a word in a contact's document; nothing or an unknown one is the account's."""
    return _BY_WORD.get(word or "", DEFAULT_POLICY)


_BY_WORD: dict[str, Policy] = {"require": "require", "prefer": "prefer", "never": "never"}


def stricter(policy: Policy, wish: str) -> Policy:
    """The policy for one message whose header field says `wish`; other words ask for nothing."""
    wanted = wish.strip().lower()
    if wanted == "require":
        return "require"
    # "never" is obeyed where encryption is a preference; against a requirement it changes nothing.
    return "never" if wanted == "never" and policy == "prefer" else policy


def _names(recipients: Sequence[Recipient]) -> str:
    """At most five addresses, so that the reply line stays readable."""
    shown = [r.address for r in recipients[:5]]
    more = len(recipients) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
