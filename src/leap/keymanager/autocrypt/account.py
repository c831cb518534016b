"""Autocrypt of one account: what it knows of its peers, what it says of itself, and what it advises.

Invariants:
* Mail with a key that is known already costs a comparison: a certificate is read when it is new.
* A key that is no certificate is as no field at all; whether one can be used is asked when it is to be used.
* Documents are written with the mail, in its transaction: what a crash undoes, the mail brings again.
* There are at most MAX_PEERS, whatever strangers send: of those not heard of longest the state is dropped, which the
  next mail tells anew. A key that was once used is in the ring.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from leap.keymanager.autocrypt.gossip import read_gossip
from leap.keymanager.autocrypt.header import (
    Header,
    PreferEncrypt,
    header_value,
    only_header,
)
from leap.keymanager.autocrypt.peers import ACCOUNT, PEER, AccountPreference, Peer, join, peer_of
from leap.keymanager.autocrypt.recommendation import (
    Advice,
    Recommendation,
    recommend,
    recommend_together,
)
from leap.keymanager.autocrypt.update import (
    Gossiped,
    Seen,
    effective_date,
    is_worth_keeping,
    update,
    update_from_gossip,
)
from leap.keymanager.canonical import canonical
from leap.keymanager.documents import (
    Content,
    DocumentStore,
    DocumentTransaction,
    content_of,
    pack,
    parse_certificate,
    value_of,
)
from leap.keymanager.following import Followed
from leap.keymanager.mail_material import DKIM_PASS, KeyMaterial
from leap.keymanager.openpgp import Certificate, OpenPGPError

# "mutual": whoever uses this program wants encryption, all their devices have the key, and mail is opened on arrival;
# so what "nopreference" is the default for (Autocrypt 1.1, "Accounts"), programs that cannot read it, is not there.
DEFAULT_PREFERENCE: PreferEncrypt = "mutual"


MAX_PEERS = 10_000  # some 2 kB each, in memory and in the store
DROPPED_AT_ONCE = 250
CLOCK_SKEW = 24 * 3600  # seconds by which the provider's clock may be ahead of ours


class _Read(NamedTuple):
    """A mail's fields, read: of whom, since when, and what they say."""

    sender: str
    date: int
    header: Header | None
    authentication: str  # what vouches for `header`
    gossip: Mapping[str, bytes]
    material: KeyMaterial


class Learnt(NamedTuple):
    """What mails teach: states to keep, and certificates that were not known of these addresses before.

    `dropped`: whose state makes room for them.
    """

    peers: Mapping[str, Peer]
    fresh: Mapping[str, Certificate]
    dropped: Sequence[str] = ()


class Advised(NamedTuple):
    """For a mail: the advice for all together, for each, and the keys it would be encrypted to."""

    advice: Advice
    each: Mapping[str, Advice]
    target_keys: Mapping[str, Certificate]


class PeerKey(NamedTuple):
    """The key of a peer that can be used now, and which of the two it is."""

    certificate: Certificate
    peer: Peer
    gossiped: bool


class Autocrypt:
    """The Autocrypt state of one account."""

    def __init__(
        self, store: DocumentStore, address: str, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._address = canonical(address)
        self._now = now
        self._known: dict[str, Peer] = {}  # to the second
        self._kept: dict[str, Peer] = {}  # as in the documents, up to a day behind
        self._documents = Followed(store, PEER, self._follow)
        self._own: tuple[Certificate, str, PreferEncrypt, str | None] | None = None

    def close(self) -> None:
        """Stops listening to the store."""
        self._documents.close()

    # --- peers ------------------------------------------------------------------------------

    async def peer(self, address: str) -> Peer | None:
        """What is known of a peer; None when no Autocrypt or Autocrypt-Gossip field was seen of them."""
        await self._documents.read()
        return self._known.get(canonical(address))

    async def find_key(self, address: str) -> PeerKey | None:
        """The key to encrypt to by Autocrypt's choice: the peer's own, else the gossiped one."""
        peer = await self.peer(address)
        if peer is None:
            return None
        public, gossip = await self._usable(peer)
        if public is not None:
            return PeerKey(public, peer, gossiped=False)
        return None if gossip is None else PeerKey(gossip, peer, gossiped=True)

    async def recommend(
        self, addresses: Iterable[str], reply_to_encrypted: bool = False
    ) -> Advised:
        """Autocrypt's recommendation for a mail to these."""
        own = await self.prefer_encrypt()
        each: dict[str, Advice] = {}
        targets: dict[str, Certificate] = {}
        for address in map(canonical, addresses):
            peer = await self.peer(address)
            public, gossip = (None, None) if peer is None else await self._usable(peer)
            one: Recommendation = recommend(
                peer,
                public_usable=public is not None,
                gossip_usable=gossip is not None,
                own=own,
                reply_to_encrypted=reply_to_encrypted,
            )
            each[address] = one.advice
            target = gossip if one.target == "gossip" else public
            if target is not None:
                targets[address] = target
        return Advised(recommend_together(each.values()), each, targets)

    async def _usable(self, peer: Peer) -> tuple[Certificate | None, Certificate | None]:
        # how much work looking at a key is, its sender decides
        return await asyncio.to_thread(_usable_keys, peer, self._now())

    async def forget(self, address: str) -> None:
        """Drops what is known of a peer; their next mail tells it anew."""
        doc_id = self._peer_id(canonical(address))

        def job(tx: DocumentTransaction) -> None:
            if tx.get(doc_id) is not None:
                tx.delete(doc_id)

        await self._documents.read()
        await self._store.transact(job)
        self._known.pop(canonical(address), None)

    # --- what mail teaches ------------------------------------------------------------------

    async def study(self, materials: Sequence[KeyMaterial]) -> Learnt | None:
        """What these mails change, in their order; None when it is nothing worth keeping."""
        await self._documents.read()
        mails: list[_Read] = []
        for material in materials:
            if (read := self._read(material)) is not None:
                mails.append(read)
            if material.gossip:
                await asyncio.sleep(0)  # as much as a millisecond each
        new = [key for mail in mails for address, key in _keys(mail) if self._is_new(address, key)]
        readable = await asyncio.to_thread(_readable, new) if new else {}
        fresh: dict[str, Certificate] = {}
        touched: dict[str, Peer] = {}
        for mail in mails:
            if mail.gossip:
                await asyncio.sleep(0)
            for address, peer in self._changes(mail, readable):
                if peer is not self._known.get(address):
                    self._known[address] = touched[address] = peer
            if readable:
                fresh.update((a, readable[key]) for a, key in _keys(mail) if key in readable)
        worth = {
            address: peer
            for address, peer in touched.items()
            if is_worth_keeping(self._kept.get(address), peer)
        }
        return Learnt(worth, fresh, self._least_heard_of(touched)) if worth or fresh else None

    def _least_heard_of(self, touched: Collection[str]) -> list[str]:
        if len(self._known) <= MAX_PEERS:
            return []
        others = [peer for address, peer in self._known.items() if address not in touched]
        others.sort(key=lambda peer: max(peer.last_seen, peer.gossip_timestamp))
        surplus = len(self._known) - MAX_PEERS
        return [peer.address for peer in others[: surplus + DROPPED_AT_ONCE]]

    def keep(self, tx: DocumentTransaction, learnt: Learnt) -> None:
        """Writes what was learnt, in the transaction of the mails it was learnt from."""
        for address, peer in learnt.peers.items():
            doc_id = self._peer_id(address)
            content = tx.get(doc_id)
            kept = peer_of(content)
            if content is not None and kept is None:
                continue  # of a newer program, whose word it stays
            joined = peer if kept is None else join(kept, peer)
            if is_worth_keeping(kept, joined):
                tx.put(doc_id, content_of(joined))
        for address in learnt.dropped:
            if tx.get(self._peer_id(address)) is not None:
                tx.delete(self._peer_id(address))

    def _read(self, material: KeyMaterial) -> _Read | None:
        """None for a mail that must be ignored, and one's own."""
        sender = canonical(material.from_address)
        if sender == self._address or material.is_report or material.is_spam:
            return None
        # what a provider dates years ahead would keep every later header of the peer out
        now = int(self._now())
        received = material.received if material.received <= now + CLOCK_SKEW else now
        date = effective_date(material.date, received)
        header, authentication = _header(material, sender)
        gossip: dict[str, bytes] = {}
        if material.gossip:
            gossip = read_gossip(material.gossip, material.recipients)
            gossip.pop(self._address, None)  # nobody tells us our own key
        return _Read(sender, date, header, authentication, gossip, material)

    def _is_new(self, address: str, key: bytes) -> bool:
        """Whether it is not a key of theirs that was read before."""
        known = self._known.get(address)
        return known is None or pack(key) not in (known.public_key, known.gossip_key)

    def _changes(
        self, mail: _Read, readable: Mapping[bytes, Certificate]
    ) -> Iterable[tuple[str, Peer]]:
        """The new states of the sender and of those gossiped about."""

        def is_readable(address: str, key: bytes) -> bool:
            return key in readable or not self._is_new(address, key)

        header, message_id = mail.header, mail.material.message_id
        if header is not None and not is_readable(mail.sender, header.keydata):
            header = None
        seen = Seen(mail.date, header, message_id, mail.authentication)
        peer = update(self._known.get(mail.sender), mail.sender, seen)
        if peer is not None:
            yield mail.sender, peer
        vouched = mail.material.sender_authentication
        for address, key in mail.gossip.items():
            if is_readable(address, key):
                gossiped = Gossiped(mail.date, key, mail.sender, message_id, vouched)
                yield address, update_from_gossip(self._known.get(address), address, gossiped)

    # --- the account's own ------------------------------------------------------------------

    async def prefer_encrypt(self) -> PreferEncrypt:
        """What this account's mail says it prefers."""
        document = await self._store.get_doc(self._account_id())
        if document is None or document.content is None:
            return DEFAULT_PREFERENCE
        return value_of(document.content, AccountPreference).prefer_encrypt

    async def set_prefer_encrypt(self, preference: PreferEncrypt) -> None:
        """From now on, on all devices."""
        content = content_of(
            AccountPreference(
                address=self._address, prefer_encrypt=preference, when=int(self._now())
            )
        )
        await self._store.transact(lambda tx: tx.put(self._account_id(), content))

    async def own_header(self, from_address: str, certificate: Certificate) -> str | None:
        """The value of the Autocrypt field of mail from this account, or an alias of it; None when none can be made."""
        preference = await self.prefer_encrypt()
        held = self._own
        if held is not None and held[0] is certificate and held[1:3] == (from_address, preference):
            return held[3]
        try:
            minimal = certificate.minimal(self._address, self._now())
        except OpenPGPError:
            return None  # revoked, or ended: there is nothing to encrypt to
        value = header_value(from_address, minimal.binary, preference)
        self._own = certificate, from_address, preference, value
        return value

    # --- documents --------------------------------------------------------------------------

    def _peer_id(self, address: str) -> str:
        return self._store.row_key(f"{PEER}:{address}".encode())

    def _account_id(self) -> str:
        return self._store.row_key(f"{ACCOUNT}:{self._address}".encode())

    def _follow(self, before: Content | None, after: Content | None) -> None:
        peer = peer_of(after)
        if peer is not None:
            self._kept[peer.address] = peer
            known = self._known.get(peer.address)
            self._known[peer.address] = peer if known is None else join(known, peer)
        elif after is None and before is not None:
            self._known.pop(before.get("address", ""), None)
            self._kept.pop(before.get("address", ""), None)


def _header(material: KeyMaterial, sender: str) -> tuple[Header | None, str]:
    """The one valid field, and what vouches for it: of one inside the encryption, what does for the mail."""
    if material.protected_autocrypt:
        header = only_header(material.protected_autocrypt, sender)
        if header is not None:
            return header, material.sender_authentication
    if not material.autocrypt:
        return None, ""
    # no signature in the mail covers its outer header
    vouched = DKIM_PASS if material.authentication == DKIM_PASS else ""
    return only_header(material.autocrypt, sender), vouched


def _keys(mail: _Read) -> Iterable[tuple[str, bytes]]:
    """The keys in a mail, each with the address it is for."""
    if mail.header is not None:
        yield mail.sender, mail.header.keydata
    yield from mail.gossip.items()


def _readable(keys: Iterable[bytes]) -> dict[bytes, Certificate]:
    found = {}
    for keydata in keys:
        try:
            found[keydata] = Certificate.from_bytes(keydata)
        except OpenPGPError:
            continue
    return found


def _usable_keys(peer: Peer, at: float) -> tuple[Certificate | None, Certificate | None]:
    return _usable(peer.public_key, at), _usable(peer.gossip_key, at)


def _usable(key: str, at: float) -> Certificate | None:
    try:
        certificate = parse_certificate(key) if key else None
        return certificate if certificate is not None and certificate.can_encrypt(at) else None
    except OpenPGPError:
        return None
