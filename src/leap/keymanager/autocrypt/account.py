"""Autocrypt of one account: what it knows of its peers, what it says of itself, and what it advises.

Invariants:
* Mail with a key that is known already costs a comparison: a certificate is read when it is new.
* A key that is no certificate is as no field at all; whether one can be used is asked when it is to be used.
* Documents are written with the mail, in its transaction: what a crash undoes, the mail brings again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from leap.keymanager.autocrypt.gossip import read_gossip
from leap.keymanager.autocrypt.header import (
    Header,
    PreferEncrypt,
    canonical,
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
from leap.keymanager.documents import (
    DocumentStore,
    DocumentTransaction,
    content_of,
    pack,
    parse_certificate,
    value_of,
)
from leap.keymanager.mail_material import DKIM_PASS, KeyMaterial
from leap.keymanager.openpgp import Certificate, OpenPGPError

# "mutual": whoever uses this program wants encryption, all their devices have the key, and mail is opened on arrival;
# so what "nopreference" is the default for (Autocrypt 1.1, "Accounts"), programs that cannot read it, is not there.
DEFAULT_PREFERENCE: PreferEncrypt = "mutual"


class Learnt(NamedTuple):
    """What mails teach: states to keep, and certificates that were not known of these addresses before."""

    peers: Mapping[str, Peer]
    fresh: Mapping[str, Certificate]


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
        self._loading = asyncio.Lock()
        self._unsubscribe: Callable[[], None] | None = None
        self._own: tuple[Certificate, str, PreferEncrypt, str | None] | None = None

    def close(self) -> None:
        """Stops listening to the store."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    # --- peers ------------------------------------------------------------------------------

    async def peer(self, address: str) -> Peer | None:
        """What is known of a peer; None when no Autocrypt or Autocrypt-Gossip field was seen of them."""
        await self._load()
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

    # --- what mail teaches ------------------------------------------------------------------

    async def study(self, materials: Sequence[KeyMaterial]) -> Learnt | None:
        """What these mails change, in their order; None when it is nothing worth keeping."""
        await self._load()
        readable = await self._read_new(materials)
        fresh: dict[str, Certificate] = {}
        touched: dict[str, Peer] = {}
        for material in materials:
            for address, peer, keydata in self._changes(material, readable):
                if peer is not self._known.get(address):
                    self._known[address] = touched[address] = peer
                if keydata in readable:
                    fresh[address] = readable[keydata]
        worth = {
            address: peer
            for address, peer in touched.items()
            if is_worth_keeping(self._kept.get(address), peer)
        }
        return Learnt(worth, fresh) if worth or fresh else None

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

    def _changes(
        self, material: KeyMaterial, readable: Mapping[bytes, Certificate]
    ) -> Iterable[tuple[str, Peer, bytes]]:
        """(address, its new state, the key that came) for the sender, and for each who is gossiped about."""
        sender = canonical(material.from_address)
        if sender == self._address or material.is_report or material.is_spam:
            return
        date = effective_date(material.date, material.received)
        known = self._known.get(sender)
        header, authentication = _header(material, sender)
        if header is not None and not _is_readable(header.keydata, known, readable):
            header = None
        seen = Seen(date, header, material.message_id, authentication)
        peer = update(known, sender, seen)
        if peer is not None:
            yield sender, peer, b"" if header is None else header.keydata
        for address, keydata in self._gossip(material).items():
            known = self._known.get(address)
            if _is_readable(keydata, known, readable):
                gossiped = Gossiped(
                    date, keydata, sender, material.message_id, material.authentication
                )
                yield address, update_from_gossip(known, address, gossiped), keydata

    def _gossip(self, material: KeyMaterial) -> dict[str, bytes]:
        if not material.gossip:
            return {}
        found = read_gossip(material.gossip, material.recipients)
        found.pop(self._address, None)  # nobody tells us our own key
        return found

    async def _read_new(self, materials: Sequence[KeyMaterial]) -> dict[bytes, Certificate]:
        """The certificates in these mails which are not what is known of their address."""
        new: set[bytes] = set()
        for material in materials:
            if material.autocrypt or material.protected_autocrypt:
                sender = canonical(material.from_address)
                header, _ = _header(material, sender)
                if header is not None and not _is_same(header.keydata, self._known.get(sender)):
                    new.add(header.keydata)
            for address, keydata in self._gossip(material).items():
                if not _is_same(keydata, self._known.get(address)):
                    new.add(keydata)
        return await asyncio.to_thread(_readable, new) if new else {}

    # --- the account's own ------------------------------------------------------------------

    async def prefer_encrypt(self) -> PreferEncrypt:
        """What this account's mail says it prefers."""
        document = await self._store.get_doc(self._account_id())
        if document is None or document.content is None:
            return DEFAULT_PREFERENCE
        return value_of(document.content, AccountPreference).prefer_encrypt

    async def set_prefer_encrypt(self, preference: PreferEncrypt) -> None:
        """From now on, on all devices."""
        content = content_of(AccountPreference(prefer_encrypt=preference, when=int(self._now())))
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
        return self._store.row_key(ACCOUNT.encode())

    async def _load(self) -> None:
        if self._unsubscribe is not None:
            return
        async with self._loading:
            if self._unsubscribe is not None:
                return
            # listening begins before reading: what syncs in meanwhile is in one of both
            unsubscribe = self._store.on_change(self._follow)
            try:
                documents = await self._store.find_docs(PEER)
            except BaseException:
                unsubscribe()
                raise
            for document in documents:
                self._enter(document.content)
            self._unsubscribe = unsubscribe

    def _follow(self, changes: Any) -> None:
        for _, before, after in changes.docs:
            if after is not None and after.get("type") == PEER:
                self._enter(after)
            elif after is None and before is not None and before.get("type") == PEER:
                self._known.pop(before.get("address", ""), None)
                self._kept.pop(before.get("address", ""), None)

    def _enter(self, content: dict[str, Any] | None) -> None:
        peer = peer_of(content)
        if peer is not None:
            self._kept[peer.address] = peer
            known = self._known.get(peer.address)
            self._known[peer.address] = peer if known is None else join(known, peer)


def _header(material: KeyMaterial, sender: str) -> tuple[Header | None, str]:
    """The one valid field, and what vouches for it: of one inside the encryption, what does for the mail."""
    if material.protected_autocrypt:
        header = only_header(material.protected_autocrypt, sender)
        if header is not None:
            return header, material.authentication
    if not material.autocrypt:
        return None, ""
    # no signature in the mail covers its outer header
    vouched = DKIM_PASS if material.authentication == DKIM_PASS else ""
    return only_header(material.autocrypt, sender), vouched


def _is_same(keydata: bytes, known: Peer | None) -> bool:
    """Whether it is a key of theirs that was read before."""
    return known is not None and pack(keydata) in (known.public_key, known.gossip_key)


def _is_readable(keydata: bytes, known: Peer | None, readable: Mapping[bytes, Certificate]) -> bool:
    return keydata in readable or _is_same(keydata, known)


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
