"""Who writes, receives and attacks in the attack mails, and their test keys, the same in every run.

bob         receives; all mail is opened with his key
alice       his friend: whom attackers want to pass for; the key ring knows her key as hers
carol       another friend, with a key of hers
grace       a friend at another provider
frank       a friend whose key ended a year ago
dave        a friend whose key was revoked: it was stolen
eve         an attacker whose key the ring knows as eve's; it calls itself alice, too
victor      an attacker whose key has alice's signing key as a subkey, without alice's word for it
mallory     an attacker whose key, which calls itself alice, the ring does not know
ivan        a friend whose address is not in Latin letters
looks       an attacker with a domain that looks like alice's; the key ring has that key for that address, rightly
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

from leap.keymanager.openpgp import (
    Certificate,
    RevocationReason,
    SecretKey,
    add_user_id,
    generate,
    revoke,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.key_state import SIGN
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.self_signing import Owner, end_of
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, subpacket
from tests.mail.travel import DOMAIN, NOW

KEYS = Path(__file__).parent / "keys"
YEAR = 365 * 24 * 3600
BORN = NOW - 2 * YEAR
ALICE, BOB, CAROL, DAVE, EVE, FRANK, MALLORY, VICTOR = (
    f"{name}@{DOMAIN}"
    for name in ("alice", "bob", "carol", "dave", "eve", "frank", "mallory", "victor")
)
GRACE = "grace@elsewhere.test"
IVAN = "\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.test"  # ivan@pochta in Cyrillic letters
LOOKS = "alice@ex\u0430mple.test"  # with U+0430 for the a of "example"
ADDRESSES = {
    "alice": ALICE,
    "bob": BOB,
    "carol": CAROL,
    "dave": DAVE,
    "eve": EVE,
    "frank": FRANK,
    "grace": GRACE,
    "ivan": IVAN,
    "looks": LOOKS,
    "mallory": MALLORY,
    "victor": VICTOR,
}
KNOWN = frozenset(ADDRESSES) - {"mallory"}  # to the key ring


def seeded(seed: str) -> Callable[[int], bytes]:
    """Reproducible octets in the place of os.urandom."""
    counter = itertools.count()
    return lambda size: hashlib.shake_256(f"{seed} {next(counter)}".encode()).digest(size)


@cache
def make_key(name: str) -> SecretKey:
    """A person's key, made anew; always the same one."""
    random = seeded(f"key of {name}")
    lifetime = YEAR if name == "frank" else 50 * YEAR
    key = generate(
        ADDRESSES[name],
        name=name.title(),
        now=lambda: BORN,
        lifetime=lifetime,
        random=random,
    )
    if name in ("eve", "mallory"):
        key = add_user_id(key, f"Alice <{ALICE}>", now=BORN + 1, random=random)
    if name == "dave":
        reason = RevocationReason.COMPROMISED
        key = revoke(key, reason=reason, now=NOW - YEAR / 2, random=random)
    if name == "victor":
        key = key.edited(_with_adopted_subkey(key))
    return key


def _with_adopted_subkey(key: SecretKey) -> Certificate:
    """The certificate with alice's primary key as a subkey that signs, without her signature back."""
    adopted = make_key("alice").certificate.primary
    bare = Component(Tag.PUBLIC_SUBKEY, adopted.body, ())
    owner = Owner(key.certificate, key.primary_secret(), int(BORN) + 2, seeded("victor adopts"))
    says = [
        subpacket(Subpacket.KEY_FLAGS, bytes([SIGN]), critical=True),
        end_of(adopted, BORN + 50 * YEAR),
    ]
    bound = owner.sign_on(bare, SignatureType.SUBKEY_BINDING, says)
    return Certificate([*key.certificate.components, bare._replace(signatures=(bound,))])


def key_files() -> dict[str, bytes]:
    """What stands in `keys/`: bob's whole key, and what the key ring knows of the others."""
    files = {f"{name}.asc": make_key(name).certificate.armored() for name in ADDRESSES}
    return files | {"bob.asc": make_key("bob").armored()}


@cache
def bob() -> SecretKey:
    """The reader's key, from its file."""
    return SecretKey.from_bytes((KEYS / "bob.asc").read_bytes())


@cache
def certificate_of(name: str) -> Certificate:
    """A person's certificate, from its file."""
    return Certificate.from_bytes((KEYS / f"{name}.asc").read_bytes())
