"""What a mail changes of a peer's state. Pure; the algorithms of Autocrypt 1.1, step by step.

    last_seen <- mail from the peer           autocrypt_timestamp, public_key, prefer_encrypt <- its one valid field
    gossip_timestamp, gossip_key <- a field inside encrypted mail of somebody else

Invariants:
* An older mail never undoes a newer one, in whatever order they are read: reading one twice changes nothing.
* A mail without a field moves `last_seen` alone: the key stays, and the recommendation draws the conclusion.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from leap.keymanager.autocrypt.header import Header
from leap.keymanager.autocrypt.peers import Peer
from leap.keymanager.documents import pack

# Seconds. Times that only move on are kept when they moved by a day: the recommendation counts 35 of them, and a
# document written for each mail would tell the provider how often one hears from somebody.
KEPT_WITHIN = 24 * 3600


class Seen(NamedTuple):
    """A mail from a peer: its effective date, its one valid field, and where that is to be read about."""

    date: int
    header: Header | None = None
    mail: str = ""
    authentication: str = ""


class Gossiped(NamedTuple):
    """What a mail of `sender` says about a peer."""

    date: int
    keydata: bytes
    sender: str
    mail: str = ""
    authentication: str = ""


def effective_date(sent: int | None, received: int) -> int:
    """When the mail counts as sent: as its Date field says, but for dates in the future and missing ones."""
    return received if sent is None or sent > received else sent


def update(peer: Peer | None, address: str, seen: Seen) -> Peer | None:
    """The state after a mail from the peer (Autocrypt 1.1, "Updating Autocrypt Peer State").

    None while there is no key of theirs.
    """
    if peer is None:
        if seen.header is None:
            return None
        peer = Peer(address=address)
    if seen.date < peer.autocrypt_timestamp:  # step 1
        return peer
    last_seen = max(peer.last_seen, seen.date)  # step 2
    header = seen.header
    if header is None:  # step 3
        # the same object when nothing changed: this is the way of most mail
        return peer if last_seen == peer.last_seen else _replace(peer, last_seen=last_seen)
    key = pack(header.keydata)
    same = key == peer.public_key
    return _replace(
        peer,
        last_seen=last_seen,
        autocrypt_timestamp=seen.date,  # step 4
        public_key=key,  # step 5
        prefer_encrypt=header.prefer_encrypt,  # step 6
        # the mail that brought the key first is the one to show; one that is vouched for is better
        mail=peer.mail if same and not _vouched(peer, seen) else seen.mail,
        authentication=peer.authentication
        if same and not _vouched(peer, seen)
        else seen.authentication,
    )


def _vouched(peer: Peer, seen: Seen) -> bool:
    return bool(seen.authentication) and not peer.authentication


def update_from_gossip(peer: Peer | None, address: str, gossip: Gossiped) -> Peer:
    """The state after gossip ("Updating Autocrypt Peer State from Key Gossip"); step 1 is `gossip.read_gossip`'s."""
    peer = peer or Peer(address=address)
    if peer.gossip_timestamp > gossip.date:  # step 2
        return peer
    key = pack(gossip.keydata)
    if key == peer.gossip_key:
        return _replace(peer, gossip_timestamp=gossip.date)
    return _replace(
        peer,
        gossip_timestamp=gossip.date,  # step 3
        gossip_key=key,  # step 4
        gossip_mail=gossip.mail,
        gossip_from=gossip.sender,
        gossip_authentication=gossip.authentication,
    )


def is_worth_keeping(kept: Peer | None, peer: Peer) -> bool:
    """Whether a state must be written, over the one that was written last."""
    if kept is None:
        return True
    moved = (
        peer.last_seen - kept.last_seen,
        peer.autocrypt_timestamp - kept.autocrypt_timestamp,
        peer.gossip_timestamp - kept.gossip_timestamp,
    )
    if max(moved) >= KEPT_WITHIN:
        return True
    return _without_times(kept) != _without_times(peer)


def _without_times(peer: Peer) -> Peer:
    return _replace(peer, last_seen=0, autocrypt_timestamp=0, gossip_timestamp=0)


_replace = msgspec.structs.replace
