"""A small world for sending and receiving: a provider in memory, and people with real stores, keys and accounts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.mail.contract import INBOX
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.incoming.pipeline import IncomingMail
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.outgoing.accepting import Outgoing
from leap.mail.outgoing.outbox import Outbox
from leap.mail.outgoing.sender import Sender
from leap.mail.outgoing.submission import Refused, SubmissionUnavailable
from leap.soledad.errors import Unreachable
from leap.soledad.inbox_seal import seal_to_inbox
from leap.soledad.material import AccountMaterial
from leap.soledad.secrets import create_account_secrets, new_device_keys
from leap.soledad.store import Soledad
from leap.soledad.wire import InboxClaim, InboxItem, InboxItems

NOW = 1_790_000_000.0
KEY = bytes(range(32))
DOMAIN = "example.test"


class Clock:
    """A clock that a test moves."""

    def __init__(self, time: float = NOW) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


@dataclass
class _Held:
    item: InboxItem
    leased: bool = False


class FakeProvider:
    """The submission, inbox and directory of a provider, in memory; every failure can be switched on."""

    def __init__(self) -> None:
        self.accounts: dict[str, AccountMaterial] = {}
        self.inboxes: dict[str, list[_Held]] = {}
        self.certificates: dict[str, bytes] = {}
        self.submitted: list[tuple[str, str, tuple[str, ...], bytes]] = []
        self.wishes: list[DeliveryWishes] = []
        self.seen: set[tuple[str, str]] = set()
        self.replies: dict[str, tuple[int, str]] = {}
        self.offline = False
        self.lookup_fails = False
        self._ids = itertools.count()

    # -- submission

    async def submit(
        self,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> dict[str, tuple[int, str]]:
        if self.offline:
            raise SubmissionUnavailable("The provider cannot be reached.", may_have_arrived=False)
        self.submitted.append((submission_id, sender, tuple(recipients), message))
        self.wishes.append(wishes)
        results: dict[str, tuple[int, str]] = {}
        for recipient in recipients:
            reply = self.replies.get(recipient, (250, "2.0.0 Accepted"))
            results[recipient] = Refused(reply) if reply[0] >= 400 else reply
            if results[recipient][0] == 250 and (submission_id, recipient) not in self.seen:
                self.seen.add((submission_id, recipient))
                if recipient in self.accounts:
                    trace = (f"Return-Path: <{sender}>\r\nReceived: by {DOMAIN}; now\r\n").encode()
                    self.deliver(recipient, trace + message)
        return results

    # -- inbox

    def deliver(self, address: str, raw: bytes) -> str:
        """Seals a mail into an inbox as the MX does; answers its inbox id."""
        material = self.accounts[address]
        key = material.inbox_keys[0].public
        return self.put(address, key.key_id, seal_to_inbox(raw, key, material.account_id))

    def put(self, address: str, key_id: str, sealed: bytes) -> str:
        inbox_id = f"i{next(self._ids)}"
        item = InboxItem(inbox_id=inbox_id, key_id=key_id, sealed=sealed, received=int(NOW))
        self.inboxes.setdefault(address, []).append(_Held(item))
        return inbox_id

    def waiting(self, address: str) -> int:
        return len(self.inboxes.get(address, []))

    def expire_leases(self) -> None:
        for inbox in self.inboxes.values():
            for held in inbox:
                held.leased = False

    # -- directory

    async def find_certificate(self, address: str) -> bytes | None:
        if self.lookup_fails or self.offline:
            raise Unreachable("the directory does not answer")
        return self.certificates.get(address)

    async def put_certificate(self, certificate: bytes) -> None:
        for address in Certificate.from_bytes(certificate).addresses:
            self.certificates[address] = certificate


class InboxOf:
    """One account's view of its inbox (`leap.mail.incoming.needs.Remote`)."""

    def __init__(self, provider: FakeProvider, address: str) -> None:
        self.provider = provider
        self.address = address
        self.acked: list[str] = []
        self.released: list[str] = []

    def _inbox(self) -> list[_Held]:
        return self.provider.inboxes.setdefault(self.address, [])

    async def claim_inbox(self, claim: InboxClaim) -> InboxItems:
        if self.provider.offline:
            raise Unreachable("offline")
        found = [held for held in self._inbox() if not held.leased][: claim.limit]
        for held in found:
            held.leased = True
        return InboxItems(items=[held.item for held in found], waiting=0)

    async def ack_inbox(self, inbox_ids: Sequence[str]) -> None:
        self.acked += inbox_ids
        self.provider.inboxes[self.address] = [
            held for held in self._inbox() if held.item.inbox_id not in inbox_ids
        ]

    async def release_inbox(self, inbox_ids: Sequence[str]) -> None:
        self.released += inbox_ids
        for held in self._inbox():
            if held.item.inbox_id in inbox_ids:
                held.leased = False


class FakeEngine:
    """Pushes nothing anywhere, and counts; a test can make it fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fails = False

    async def sync(self) -> None:
        if self.fails:
            raise Unreachable("offline")
        self.syncs += 1

    async def sync_log(self) -> None:
        if self.fails:
            raise Unreachable("offline")
        self.syncs += 1

    async def send_contents(self) -> None:
        if self.fails:
            raise Unreachable("offline")


@dataclass
class Person:
    """An account on one device."""

    address: str
    provider: FakeProvider
    store: Soledad
    keys: KeyManager
    account: LocalAccount
    outgoing: Outgoing
    sender: Sender
    incoming: IncomingMail
    inbox: InboxOf
    engine: Any  # FakeEngine, or the real one
    clock: Clock

    async def messages(self) -> list[bytes]:
        """What INBOX serves, oldest first."""
        rows = await self.account.rows(INBOX)
        return [await self.account.read(row.row_id) for row in rows]

    async def close(self) -> None:
        await self.account.close()
        self.keys.close()
        await self.store.close()


def _seeded(seed: str) -> Callable[[int], bytes]:
    """Reproducible octets in the place of os.urandom."""
    counter = itertools.count()
    return lambda size: hashlib.shake_256(f"{seed} {next(counter)}".encode()).digest(size)


def material_of(name: str, device: str) -> AccountMaterial:
    """What a device of `name`@example.test keeps; the same for each call."""
    secrets = create_account_secrets(f"{name}@{DOMAIN}", NOW, _seeded(name))
    return AccountMaterial(
        account_id=secrets.account_id,
        address=f"{name}@{DOMAIN}",
        root_public=secrets.root_public,
        id_key=secrets.id_key,
        epochs=secrets.epochs,
        inbox_keys=secrets.inbox_keys,
        device=new_device_keys(device, _seeded(device)),
        keyset=b"",  # nothing of mail looks at it
        api_url="https://localhost",
    )


_own_keys: dict[str, SecretKey] = {}


def own_key(name: str) -> SecretKey:
    """The OpenPGP key of a person, the same for a whole test run."""
    if name not in _own_keys:
        lasting = 50 * 365 * 86400  # some tests use the real time, whenever they run
        _own_keys[name] = generate(f"{name}@{DOMAIN}", now=lambda: NOW - 1000, lifetime=lasting)
    return _own_keys[name]


async def open_person(
    provider: FakeProvider,
    folder: Path,
    name: str,
    *,
    device: str | None = None,
    with_key: bool = True,
    clock: Clock | None = None,
    material: AccountMaterial | None = None,
    engine_of: Callable[[Soledad], Any] | None = None,
) -> Person:
    """An account as the daemon opens it, on a new device or on one that was closed before.

    `engine_of` makes the sync engine for a store; without it nothing is synced.
    """
    clock = clock or Clock()
    device = device or f"{name}-laptop"
    address = f"{name}@{DOMAIN}"
    folder.mkdir(exist_ok=True)
    store = await open_mail_store(folder / f"{device}.db", KEY, now=clock)
    if store.material is None:
        await store.save_material(material or material_of(name, device))
    assert store.material is not None
    provider.accounts[address] = store.material
    keys = KeyManager(store, address, provider, now=clock)
    if with_key and not await keys.own_keys():
        await keys.own.add(own_key(name))
        await keys.publishing.publish()
    outgoing = Outgoing(Outbox(store, now=clock), keys, address, now=clock)
    account = await LocalAccount.open(store, address, outbox=outgoing, now=clock)
    sender = Sender(
        outgoing, keys, provider, account, row_key=store.row_key, now=clock, jitter=lambda: 0.5
    )
    inbox = InboxOf(provider, address)
    engine = engine_of(store) if engine_of is not None else FakeEngine()
    incoming = IncomingMail(account, store, keys, inbox, engine, now=clock, jitter=lambda: 0.5)
    return Person(
        address, provider, store, keys, account, outgoing, sender, incoming, inbox, engine, clock
    )


def mail(
    sender: str = f"alice@{DOMAIN}",
    to: str = f"bob@{DOMAIN}",
    *,
    extra: bytes = b"",
    body: bytes = b"Hello Bob.\r\n",
) -> bytes:
    """A small mail with all usual fields."""
    return (
        (
            f"From: Alice <{sender}>\r\nTo: Bob <{to}>\r\nSubject: The secret plan\r\n"
            "Date: Mon, 21 Sep 2026 10:00:00 +0000\r\nMessage-ID: <plan@example.test>\r\n"
        ).encode()
        + extra
        + b"\r\n"
        + body
    )
