"""Whether Autocrypt would encrypt a mail: disable, discourage, available or encrypt. Pure.

    no usable key of the peer                                                        -> disable
    only a gossiped one                                                              -> discourage
    last Autocrypt field over 35 days older than the newest mail                     -> discourage
    else                                                                             -> available
    not disable, and the mail answers an encrypted one                               -> encrypt
    available, and both sides said "mutual"                                          -> encrypt

    of several: a disable -> disable; all encrypt -> encrypt; a discourage -> discourage; else available

(Autocrypt 1.1, "Provide a recommendation for message encryption".) It advises people and the programs they write in;
what is sent how, `leap.mail.outgoing.policy` decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from leap.keymanager.autocrypt.header import PreferEncrypt
from leap.keymanager.autocrypt.peers import Peer

Advice = Literal["disable", "discourage", "available", "encrypt"]
Target = Literal["public", "gossip"]

STALE = 35 * 24 * 3600  # seconds; "more than 35 days older"


class Recommendation(NamedTuple):
    """For one peer: the advice, and which of the two keys it is about (None with "disable")."""

    advice: Advice
    target: Target | None


def recommend(
    peer: Peer | None,
    *,
    public_usable: bool,
    gossip_usable: bool,
    own: PreferEncrypt,
    reply_to_encrypted: bool = False,
) -> Recommendation:
    """The recommendation for one recipient; "usable": there, not revoked, not expired, and fit to encrypt to."""
    if peer is None or not (public_usable or gossip_usable):
        return Recommendation("disable", None)
    preliminary: Advice = "available"
    target: Target = "public"
    if not public_usable:
        preliminary, target = "discourage", "gossip"
    elif peer.last_seen - peer.autocrypt_timestamp > STALE:
        preliminary = "discourage"
    both = peer.prefer_encrypt == own == "mutual"
    if reply_to_encrypted or (preliminary == "available" and both):
        return Recommendation("encrypt", target)
    return Recommendation(preliminary, target)


def recommend_together(advices: Iterable[Advice]) -> Advice:
    """The advice for a mail to several; "disable" for a mail to nobody."""
    given = list(advices)
    if not given or "disable" in given:
        return "disable"
    if all(advice == "encrypt" for advice in given):
        return "encrypt"
    return "discourage" if "discourage" in given else "available"
