"""Whether a mail may go, and how: encrypted, in clear, some of both with consent, not at all, or not yet.

Pure. Each recipient is one of these, by their policy and what is known of their key:

    policy \\ key   usable    absent    unusable    unclear
    require        key       refuse    refuse      open
    prefer         key       clear     refuse      open
    never          clear     clear     clear       clear

The whole decision, first match from the top:

    somebody is "refuse"                                              -> Refuse, with the reason
    somebody is "clear", and the mail answers encrypted mail          -> Refuse: it would quote what came encrypted
    somebody is "clear", somebody is "key" (or "require" and "open"):
        by what the account says of mixed recipients
        "refuse"                                                      -> Refuse, naming who has no key
        "clear", somebody is "require"                                -> Refuse
        "clear"                                                       -> Wait while somebody is "open", else Clear
        "split"                                                       -> Wait while somebody is "open", else Split
    somebody is "open"                                                -> Wait
    all are "key"                                                     -> Encrypt
    all are "clear"                                                   -> Clear

Clear text is signed when that is wished for every one of those who get it: somebody whose program shows signatures
as puzzles gets none because of others.

Invariants:
* Clear text goes only to those of whom every look-up said "there is no key", or of whom the person said "never", or
  with all others when the person said that such mail is all clear: a failure of any kind never leads to clear text.
* A mail is encrypted to some and in clear to others only when the person said "split".
* Who is "require" never gets clear text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Policy = Literal["require", "prefer", "never"]
Mixed = Literal["refuse", "clear", "split"]
DEFAULT_POLICY: Policy = "prefer"
DEFAULT_MIXED: Mixed = "refuse"
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
    """`sign`: whether clear text for them is to be signed."""

    address: str
    key: KeyState
    policy: Policy = DEFAULT_POLICY
    sign: bool = False


@dataclass(frozen=True, slots=True)
class Encrypt:
    """Encrypt and sign to all."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Send it readable on the way, with a signature or as it is."""

    signed: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Encrypt and sign to the first, send it readable to the others."""

    encrypted: tuple[str, ...]
    clear: tuple[str, ...]
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not send; `sentence` tells the person why and what to do, naming who."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep it and decide again later."""

    sentence: str


Decision = Encrypt | Clear | Split | Refuse | Wait


def decide(
    recipients: Sequence[Recipient],
    *,
    mixed: Mixed = DEFAULT_MIXED,
    answers_encrypted: bool = False,
) -> Decision:
    """The answer of the table above for a mail to these recipients (at least one).

    `answers_encrypted`: it may quote what came encrypted, and nobody said that this may be read on the way.
    """
    if not recipients:
        return Refuse("The message has no recipients.")
    clear = [r for r in recipients if _gets_clear(r)]
    required = [r for r in recipients if r.policy == "require"]
    refusal = _unusable(recipients) or _without_required_key(recipients, required)
    if refusal is not None:
        return refusal
    if clear and answers_encrypted:
        return _quotes(clear)
    others = [r for r in recipients if r not in clear]
    usable = [r for r in others if isinstance(r.key, Usable)]
    is_mixed = bool(clear) and bool(usable or required)
    if is_mixed and mixed == "refuse":
        return _never_mixed(clear)
    if is_mixed and mixed == "clear" and required:
        return Refuse(
            f"Not sent: it would have to go in clear to all because of {_names(clear)}, and encryption is required"
            f" for {_names(required)}; send two messages."
        )
    unclear = [(r.address, r.key) for r in others if isinstance(r.key, Unclear)]
    if unclear:
        reasons = "; ".join(f"{address}: {key.reason}" for address, key in unclear)
        return Wait(f"Waiting for keys ({reasons}).")
    if not clear:
        return Encrypt()
    signed = all(r.sign for r in clear)
    if usable and mixed == "split":
        return Split(
            tuple(r.address for r in usable), tuple(r.address for r in clear), signed=signed
        )
    return Clear(signed=all(r.sign for r in recipients))


def clear_of(decision: Decision, recipients: Collection[str]) -> frozenset[str]:
    """Who of the recipients gets clear text by a decision."""
    if isinstance(decision, Clear):
        return frozenset(recipients)
    return frozenset(decision.clear) if isinstance(decision, Split) else frozenset()


def _gets_clear(one: Recipient) -> bool:
    return one.policy == "never" or (one.policy == "prefer" and isinstance(one.key, Absent))


def _unusable(recipients: Sequence[Recipient]) -> Refuse | None:
    keys = [
        (r.address, r.key)
        for r in recipients
        if isinstance(r.key, Unusable) and r.policy != "never"
    ]
    if not keys:
        return None
    reasons = "; ".join(f"the key of {address} {key.reason}" for address, key in keys)
    remedies = " ".join(dict.fromkeys(key.remedy for _, key in keys))
    return Refuse(f"Not sent: {reasons}. {remedies}")


def _without_required_key(
    recipients: Sequence[Recipient], required: Sequence[Recipient]
) -> Refuse | None:
    if not any(isinstance(r.key, Absent) for r in required):
        return None
    absent = [r for r in recipients if isinstance(r.key, Absent) and r.policy != "never"]
    return Refuse(
        f"Not sent: no key was found for {_names(absent)}, and encryption is required for {_names(required)}."
    )


def _quotes(clear: Sequence[Recipient]) -> Refuse:
    return Refuse(
        f"Not sent: it answers a mail that came encrypted, and would go in clear to {_names(clear)}. If it quotes"
        " nothing of that mail, send it again with the header field X-Leap-Encrypt: never, or as a new mail."
    )


def _never_mixed(clear: Sequence[Recipient]) -> Refuse:
    absent = [r for r in clear if r.policy != "never"]
    if not absent:
        return Refuse(
            f"Not sent: mail to {_names(clear)} is set never to be encrypted, to the others it is; "
            "send two messages."
        )
    return Refuse(
        f"Not sent: no key was found for {_names(absent)}, while the other recipients have one; "
        "send them separate messages, so that nobody gets in clear what others get encrypted."
    )


def policy_named(word: str | None, default: Policy = DEFAULT_POLICY) -> Policy:
    """The policy of a word in a contact's document; nothing or an unknown one is the account's."""
    return _BY_WORD.get(word or "", default)


_BY_WORD: dict[str, Policy] = {"require": "require", "prefer": "prefer", "never": "never"}


def stricter(policy: Policy, wish: str) -> Policy:
    """The policy for one message which says `wish`; other words ask for nothing."""
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
