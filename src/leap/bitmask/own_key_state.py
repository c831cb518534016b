"""How an account's own keys are, for `bitmask keys list`, `bitmask user list` and `bitmask status`."""

from __future__ import annotations

from typing import Any

from leap.bitmask.sentences import sentence
from leap.bitmask.session import AccountSession
from leap.keymanager.own_keys import unusable_because


async def own_key_state(session: AccountSession) -> dict[str, Any]:
    """`problem` is a sentence for people, "" when all is well; `published` whether the directory has the newest."""
    keys = session.keys
    kept = await keys.own.kept()
    if not kept:
        problem = session.key_care.problem or "The key of this account is not made yet."
        return {"fingerprint": "", "published": False, "problem": problem}
    certificate = kept[0].key.certificate
    published = await keys.publishing.is_current()
    problem = session.key_care.problem
    if because := unusable_because(certificate, session.address, keys.own.now()):
        problem = (
            f"Your key cannot be used: {because}. {problem} `bitmask keys rotate --primary` makes a new one."
        ).replace("  ", " ")
    if not published and not problem:
        error = (await keys.publishing.state()).error
        problem = sentence(error) if error else "The newest form of your key is not published yet."
        problem += " This is tried again by itself."
    return {"fingerprint": certificate.fingerprint, "published": published, "problem": problem}


async def own_key_row(session: AccountSession, fingerprint: str) -> dict[str, Any]:
    """What a list says of one own key besides: whether it is the one in use, and how that is."""
    state = await own_key_state(session)
    if fingerprint != state["fingerprint"]:
        return {"in_use": False}
    return {"in_use": True, "published": state["published"], "problem": state["problem"]}


def use_words(fingerprint: str, *, in_use: bool, revoked: bool) -> str:
    """What an own key is for."""
    if in_use and revoked:
        return "It is the key in use: `bitmask keys rotate --primary` makes a new one."
    if in_use:
        return "It is the key in use: others encrypt to it, and you sign with it."
    if revoked:
        return "It opens mail only, for ever."
    return f"It opens mail only; `bitmask keys use {fingerprint}` makes it the one in use."
