"""What two devices decide about one address at the same time: by hand, by random events, and on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager import binding_edits
from leap.keymanager.binding_merge import merge_bindings, merge_contacts
from leap.keymanager.contacts import blocking, unblocking
from leap.keymanager.documents import (
    BINDING,
    MAX_EVIDENCE,
    MAX_REFUSED,
    PERSON,
    Binding,
    Block,
    Contact,
    Evidence,
    content_of,
    value_of,
)
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import SecretKey, generate
from leap.keymanager.trust import BoundKey, Level, level_named, may_replace
from tests.mail.devices import MailDevice, MailWorld

from .conftest import ALICE, BIRTH, BOB, Time

KEYS = ("A" * 40, "B" * 40, "C" * 40)
CHECKED = Level.FINGERPRINT.word


def evidence(level: str, when: int, source: str = "directory") -> Evidence:
    return Evidence(
        source=PERSON if level == CHECKED else source, when=when, level=level, detail=level
    )


def start(fingerprint: str = KEYS[0], level: str = "weak-chain", when: int = 10) -> Binding:
    return binding_edits.taken(None, fingerprint, BOB, evidence(level, when), "first")


def offer(binding: Binding, fingerprint: str, level: str, when: int) -> Binding:
    """What the key ring does with an offer of a key that never ends."""
    said = evidence(level, when)
    old = BoundKey(fingerprint=binding.fingerprint, level=level_named(binding.level))
    new = BoundKey(
        fingerprint=fingerprint,
        level=level_named(level),
        declined=fingerprint in binding.declined,
    )
    decision = may_replace(old, new, now=0)
    if decision.allowed:
        return binding_edits.taken(binding, fingerprint, BOB, said, decision.reason)
    return binding_edits.refused(binding, fingerprint, said, decision)


def merged(base: Binding | None, one: Binding, other: Binding) -> Binding:
    """The merge, which has to be the same in both orders."""
    contents = [None if b is None else content_of(b) for b in (base, one, other)]
    found = merge_bindings(*contents)
    assert found == merge_bindings(contents[0], contents[2], contents[1])
    assert found is not None
    return value_of(found, Binding)


# --- by hand -----------------------------------------------------------------------------------


def test_verified_here_and_replaced_there_stays_verified_and_raises_an_alert() -> None:
    base = start()
    here = offer(base, KEYS[0], CHECKED, 20)
    there = offer(base, KEYS[1], "provider-trust", 30)
    found = merged(base, here, there)
    assert (found.fingerprint, found.level) == (KEYS[0], CHECKED)
    assert found.alert is not None
    assert (found.alert.fingerprint, found.alert.level) == (KEYS[1], "provider-trust")


def test_two_keys_verified_at_once_leave_the_newest_and_an_alert() -> None:
    base = start()
    here, there = offer(base, KEYS[1], CHECKED, 20), offer(base, KEYS[2], CHECKED, 30)
    found = merged(base, here, there)
    assert found.fingerprint == KEYS[2]
    assert found.alert is not None
    assert found.alert.fingerprint == KEYS[1]


def test_verifying_a_new_key_here_is_not_undone_by_news_of_the_old_one_there() -> None:
    base = offer(start(), KEYS[0], CHECKED, 15)
    here = offer(base, KEYS[1], CHECKED, 20)
    there = binding_edits.used(base, encrypted_to=True, signature_seen=False)
    found = merged(base, here, there)
    assert (found.fingerprint, found.alert) == (KEYS[1], None)


def test_accepting_a_new_key_here_is_not_undone_by_use_of_the_old_one_there() -> None:
    base = offer(offer(start(), KEYS[0], CHECKED, 15), KEYS[1], "provider-trust", 20)
    assert base.alert is not None
    word = Evidence(source=PERSON, when=30, level="provider-trust", detail="accepted")
    here = binding_edits.taken(base, KEYS[1], BOB, word, "accepted")
    there = binding_edits.used(base, encrypted_to=True, signature_seen=False)
    found = merged(base, here, there)
    assert (found.fingerprint, found.level, found.alert) == (KEYS[1], "provider-trust", None)
    kept = binding_edits.kept(base, 25)  # said otherwise there: the verified one, and that is told
    found = merged(base, here, kept)
    assert (found.fingerprint, found.level) == (KEYS[0], CHECKED)


def test_taken_back_here_is_not_verified_again_by_use_there() -> None:
    base = offer(start(), KEYS[0], CHECKED, 15)
    here = binding_edits.unverified(base, 20, "taken back")
    there = offer(
        binding_edits.used(base, encrypted_to=True, signature_seen=True),
        KEYS[0],
        "provider-trust",
        10**6,
    )
    found = merged(base, here, there)
    assert found.level == "provider-trust"
    assert [e.level for e in found.evidence] == ["weak-chain", "provider-trust"]
    assert (found.encrypted_to, found.signature_seen) == (True, True)


def test_verified_again_there_after_it_was_taken_back_here_is_verified() -> None:
    base = offer(start(), KEYS[0], CHECKED, 15)
    here = binding_edits.unverified(base, 20, "taken back")
    there = offer(base, KEYS[0], CHECKED, 10**6)
    assert merged(base, here, there).level == CHECKED


def test_an_alert_decided_here_does_not_come_back_from_there() -> None:
    base = offer(offer(start(), KEYS[0], CHECKED, 15), KEYS[1], "provider-trust", 20)
    assert base.alert is not None
    here = binding_edits.kept(base, 30)
    for there in (
        binding_edits.used(base, encrypted_to=True, signature_seen=False),
        offer(base, KEYS[1], "provider-endorsement", 40),  # the same key, believed more
    ):
        found = merged(base, here, there)
        assert (found.alert, found.declined) == (None, (KEYS[1],))
    third = offer(base, KEYS[2], "provider-endorsement", 40)
    found = merged(base, here, third)
    assert found.alert is not None
    assert found.alert.fingerprint == KEYS[2]


DELETIONS = [
    ("nothing", lambda b: b, False),
    ("use", lambda b: binding_edits.used(b, encrypted_to=True, signature_seen=True), False),
    ("the same again", lambda b: offer(b, KEYS[0], "weak-chain", 10**6), False),
    ("more belief", lambda b: offer(b, KEYS[0], "provider-trust", 20), False),
    ("another key", lambda b: offer(b, KEYS[1], "provider-trust", 20), False),
    ("verified", lambda b: offer(b, KEYS[0], CHECKED, 20), True),
    ("another key verified", lambda b: offer(b, KEYS[1], CHECKED, 20), True),
]


@pytest.mark.parametrize(("what", "edit", "stays"), DELETIONS)
def test_a_deletion_stands_unless_the_person_said_something_elsewhere(
    what: str, edit: Any, stays: bool
) -> None:
    base = start()
    edited = content_of(edit(base))
    wanted = edited if stays else None
    assert merge_bindings(content_of(base), None, edited) == wanted
    assert merge_bindings(content_of(base), edited, None) == wanted


def test_what_was_verified_before_does_not_undo_a_deletion() -> None:
    base = offer(start(), KEYS[0], CHECKED, 15)
    used = content_of(binding_edits.used(base, encrypted_to=True, signature_seen=False))
    assert merge_bindings(content_of(base), None, used) is None


@pytest.mark.parametrize(
    ("base", "local", "remote", "merged"),
    [
        ("", "on", "", "on"),
        ("", "", "off", "off"),
        ("on", "", "on", ""),
        ("", "on", "off", "off"),
        ("on", "", "off", "off"),
        ("off", "on", "", "on"),
    ],
)
def test_whether_mail_is_signed_survives_a_merge(
    base: str, local: str, remote: str, merged: str
) -> None:
    """Also beside an edit of another field on the other device."""
    contents = [content_of(Contact(address=BOB, sign=sign)) for sign in (base, local, remote)]
    contents[2]["policy"] = "require"
    for one, other in ((contents[1], contents[2]), (contents[2], contents[1])):
        found = merge_contacts(contents[0], one, other)
        assert found is not None
        assert (found["sign"], found["policy"]) == (merged, "require")


def test_contacts_merge_field_by_field() -> None:
    one, two = (Block(fingerprint=key, when=5) for key in KEYS[:2])
    base = blocking(Contact(address=BOB, policy="prefer"), one)
    policy = Contact(address=BOB, policy="require", blocked=base.blocked)
    cases = [
        (policy, blocking(base, two), ("require", {KEYS[0], KEYS[1]})),
        (policy, unblocking(base, KEYS[0]), ("require", set())),
        (unblocking(base, KEYS[0]), blocking(base, two), ("prefer", {KEYS[1]})),
        (Contact(address=BOB, policy="never"), policy, ("require", set())),
    ]
    for here, there, (wanted, blocked) in cases:
        contents = [content_of(c) for c in (base, here, there)]
        found = merge_contacts(*contents)
        assert found == merge_contacts(contents[0], contents[2], contents[1])
        assert found is not None
        assert found["policy"] == wanted
        assert {b["fingerprint"] for b in found["blocked"]} == blocked
    gone = merge_contacts(content_of(base), None, content_of(policy))
    assert gone == content_of(policy)
    again = Block(fingerprint=KEYS[0], when=9)
    twice = merge_contacts(
        None,
        content_of(blocking(Contact(address=BOB), again)),
        content_of(blocking(Contact(address=BOB), one)),
    )
    assert twice is not None
    assert [b["when"] for b in twice["blocked"]] == [5]


# --- random events -----------------------------------------------------------------------------

offers = st.tuples(
    st.just("offer"),
    st.sampled_from(KEYS),
    st.sampled_from(["weak-chain", "provider-trust", "provider-endorsement", CHECKED]),
)
events = st.lists(
    st.one_of(offers, st.sampled_from([("use",), ("keep",), ("accept",), ("take back",)])),
    max_size=5,
)


def after(binding: Binding, happened: list[tuple[str, ...]], when: int) -> Binding:
    for number, event in enumerate(happened):
        moment = when + number
        if event[0] == "offer":
            binding = offer(binding, event[1], event[2], moment)
        elif event[0] == "use":
            binding = binding_edits.used(binding, encrypted_to=True, signature_seen=False)
        elif event[0] == "keep":
            binding = binding_edits.kept(binding, moment)
        elif event[0] == "accept":
            if (alert := binding.alert) is not None:
                word = Evidence(source=PERSON, when=moment, level=alert.level, detail="accepted")
                binding = binding_edits.taken(binding, alert.fingerprint, BOB, word, "accepted")
        elif binding.level == CHECKED:
            binding = binding_edits.unverified(binding, moment, "taken back")
    return binding


@settings(max_examples=60, deadline=None)
@given(events, events, events, st.integers(0, 50))
def test_random_edits_of_two_devices(
    before: list[tuple[str, ...]],
    here: list[tuple[str, ...]],
    there: list[tuple[str, ...]],
    later: int,
) -> None:
    base = after(start(), before, 20)
    one, other = after(base, here, 100), after(base, there, 100 + later)
    found = merged(base, one, other)
    assert merged(base, one, one) == one
    assert merged(one, found, one) == found  # the pushed result needs no further merge
    assert level_named(found.level) == max(
        (level_named(e.level) for e in found.evidence), default=Level.WEAK_CHAIN
    )
    assert found.fingerprint in (one.fingerprint, other.fingerprint)
    assert len(found.evidence) <= MAX_EVIDENCE
    assert len(found.refused) <= MAX_REFUSED
    if found.alert is not None:
        assert found.level == CHECKED
        assert found.alert.fingerprint not in (found.fingerprint, *found.declined)
    for mine, theirs in ((one, other), (other, one)):
        if mine.level == CHECKED and theirs.level != CHECKED and mine != base:
            said = [e for e in mine.evidence if e.level == CHECKED and e not in base.evidence]
            # what was verified since is never replaced by what another device found
            if said:
                assert (found.fingerprint, found.level) == (mine.fingerprint, CHECKED)
            new = theirs.fingerprint not in (mine.fingerprint, base.fingerprint)
            if said and new and theirs.fingerprint not in mine.declined:
                assert found.alert is not None


# --- real stores, real sync --------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    yield world
    await world.close()


async def test_verified_on_the_laptop_and_replaced_on_the_phone(
    world: MailWorld, clock: Time, bob: SecretKey
) -> None:
    laptop, phone = await world.device("laptop"), await world.device("phone")
    here, there = _ring(laptop, clock), _ring(phone, clock)
    await here.learn(bob.certificate, BOB, "attached to a mail")
    await laptop.engine.sync()
    await phone.engine.sync()
    assert await there.find_bound(BOB, seconds=1) == [bob.certificate]
    new = generate(BOB, now=lambda: BIRTH + 1)
    await here.verifying.verify(BOB, bob.fingerprint)
    level = Level.PROVIDER_TRUST
    replaced = await there.learn(new.certificate, BOB, "", level=level, source="directory")
    assert replaced.allowed
    await _settle(laptop, phone)
    for ring in (here, there):
        [info] = await ring.show(BOB)
        assert (info.fingerprint, info.level) == (bob.fingerprint, CHECKED)
        assert info.alert is not None
        assert info.alert.fingerprint == new.fingerprint
        assert "may have changed" in info.alerts[0]
    await there.verifying.verify(BOB, new.fingerprint)  # decided on one, done on both
    await here.contacts.set_policy(BOB, "require")
    await _settle(laptop, phone)
    for ring in (here, there):
        [info] = await ring.show(BOB)
        assert (info.fingerprint, info.alerts, info.policy) == (new.fingerprint, (), "require")
    await here.verifying.delete(BOB)
    await there.note_signed({BOB: new.fingerprint})
    await _settle(laptop, phone)
    for ring in (here, there):
        assert await ring.keyring.find(BOB) is None
        assert await ring.policies([BOB]) == {BOB: "require"}
        ring.close()
    assert [d for d in await laptop.store.find_docs(BINDING) if d.content] == []


def _ring(device: MailDevice, clock: Time) -> KeyManager:
    return KeyManager(device.store, ALICE, now=clock)


async def _settle(*devices: MailDevice) -> None:
    for _ in range(2):
        for device in devices:
            await device.engine.sync()
