"""What is remembered of each peer: a document, and how two devices' documents of one peer become one.

    autocrypt-peer     one per address a valid Autocrypt or Autocrypt-Gossip field was seen of
    autocrypt-account  one: what the account says of itself

(Autocrypt 1.1, "Communication Peers".) Invariants:
* Merging is the least upper bound by date: whatever the order of devices and mails, all end with the same.
* A peer without a key has no document: what was last seen of them would say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from leap.keymanager.autocrypt.header import PreferEncrypt
from leap.keymanager.documents import Content, Merge, content_of, value_of

PEER: Literal["autocrypt-peer"] = "autocrypt-peer"
ACCOUNT: Literal["autocrypt-account"] = "autocrypt-account"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one peer; times in seconds since 1970 (0: never), keys in base64 ("": none).

    `mail` and `gossip_mail` are the Message-IDs of the mails that brought the keys; `authentication` and
    `gossip_authentication` what vouched for those, as in `documents.Evidence`; `gossip_from`: who gossiped.
    """

    address: str
    last_seen: int = 0
    autocrypt_timestamp: int = 0
    public_key: str = ""
    prefer_encrypt: PreferEncrypt = "nopreference"
    mail: str = ""
    authentication: str = ""
    gossip_timestamp: int = 0
    gossip_key: str = ""
    gossip_mail: str = ""
    gossip_from: str = ""
    gossip_authentication: str = ""
    type: Literal["autocrypt-peer"] = PEER


class AccountPreference(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's own Autocrypt fields say, since when."""

    address: str
    prefer_encrypt: PreferEncrypt
    when: int
    type: Literal["autocrypt-account"] = ACCOUNT


def peer_of(content: Mapping[str, Any] | None) -> Peer | None:
    """The peer in a document; None for none, and for one that a newer program wrote in another form."""
    if content is None:
        return None
    try:
        return value_of(content, Peer)
    except msgspec.ValidationError:
        return None


def join(one: Peer, other: Peer) -> Peer:
    """Both states of a peer in one: of each key the newer; at the same time, the greater."""
    direct = max(one, other, key=_direct)
    gossip = max(one, other, key=_gossip)
    return msgspec.structs.replace(
        direct,
        last_seen=max(one.last_seen, other.last_seen),
        gossip_timestamp=gossip.gossip_timestamp,
        gossip_key=gossip.gossip_key,
        gossip_mail=gossip.gossip_mail,
        gossip_from=gossip.gossip_from,
        gossip_authentication=gossip.gossip_authentication,
    )


def _direct(peer: Peer) -> tuple[int, str, str, str, str]:
    return (
        peer.autocrypt_timestamp,
        peer.public_key,
        peer.prefer_encrypt,
        peer.mail,
        peer.authentication,
    )


def _gossip(peer: Peer) -> tuple[int, str, str, str, str]:
    return (
        peer.gossip_timestamp,
        peer.gossip_key,
        peer.gossip_mail,
        peer.gossip_from,
        peer.gossip_authentication,
    )


def _merge_peers(
    base: Content | None, local: Content | None, remote: Content | None
) -> Content | None:
    """Only what both know in a form known here is joined; else the one who wrote stands, as an edit of a deletion."""
    mine, theirs = peer_of(local), peer_of(remote)
    if mine is not None and theirs is not None:
        return content_of(join(theirs, mine))
    if local == base:
        return remote
    return local if remote is None else remote


def _merge_accounts(
    base: Content | None, local: Content | None, remote: Content | None
) -> Content | None:
    if local is None or local == base:
        return remote
    if remote is None or remote == base:
        return local
    return max(remote, local, key=lambda content: int(content.get("when", 0)))


MERGES: Mapping[str, Merge] = {PEER: _merge_peers, ACCOUNT: _merge_accounts}
