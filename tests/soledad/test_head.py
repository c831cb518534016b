"""Head records: signatures, and the rules by which a device accepts the next one.

`World` plays several devices and an honest or lying provider with real records; hashes stand for sealed bytes.
"""

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad.digest import EMPTY
from leap.soledad.envelope import Epoch, seal, with_lengths
from leap.soledad.errors import (
    ForgedEnvelope,
    ForgedHead,
    ForkJoined,
    KeysetBehind,
    ProviderLies,
    RolledBack,
    UnknownEpoch,
    UnknownSuite,
)
from leap.soledad.head import (
    DeviceEntry,
    Head,
    HeadRecord,
    Mark,
    OwnHeads,
    check_successor,
    head_hash,
    next_record,
    open_head,
    sign_and_seal,
)
from leap.soledad.keyset import EpochEntry
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of

ALICE = secrets_of("alice")
LAPTOP, PHONE, TABLET = device_of("laptop"), device_of("phone"), device_of("tablet")
KEYSET = keyset_of(ALICE, LAPTOP, PHONE)
EPOCH = ALICE.epochs[0]
EPOCHS = {EPOCH.number: EPOCH}
ACCOUNT = ALICE.account_id
REPLACE = msgspec.structs.replace


class Actor:
    """One device: what it remembers of itself and the head it accepted last."""

    def __init__(self, keys):
        self.own = OwnHeads(keys.device_id)
        self.seen: Head | None = None

    def attempt(self, items: int = 1) -> Head:
        """A head on its way; its outcome is not known yet."""
        record = next_record(self.seen, self.own, KEYSET, items=items, digest=EMPTY, time=NOW)
        head = Head(record, hashlib.sha256(msgspec.msgpack.encode(record)).digest())
        self.own = self.own.attempted(Mark(self.own.next_counter, head.hash))
        return head

    def accept(self, head: Head) -> None:
        check_successor(self.own, self.seen, head)
        self.own, self.seen = self.own.settled(head), head

    def commit(self, items: int = 1) -> Head:
        head = self.attempt(items)
        self.accept(head)
        return head


@pytest.fixture
def laptop():
    return Actor(LAPTOP)


@pytest.fixture
def phone():
    return Actor(PHONE)


# --- signatures --------------------------------------------------------------------------------------


def record_by(device=LAPTOP, **change) -> HeadRecord:
    record = next_record(None, OwnHeads(device.device_id), KEYSET, items=3, digest=EMPTY, time=NOW)
    return REPLACE(record, **change)


def sealed_by(device=LAPTOP, key=None, **change) -> bytes:
    return sign_and_seal(record_by(device, **change), (key or device).signing_key, EPOCH, ACCOUNT)


def forced(record: HeadRecord, device=LAPTOP) -> bytes:
    """Sealed and signed rightly, whatever the record says."""
    body = msgspec.msgpack.encode(record)
    signature = device.signing_key.sign(
        with_lengths(b"leap.soledad head 1", ACCOUNT.encode(), body)
    )
    return sealed_raw(msgspec.msgpack.encode([body, signature]))


def sealed_raw(inner: bytes) -> bytes:
    return seal(inner, kind="head", account=ACCOUNT, item_id=bytes(32), version=0, epoch=EPOCH)


def test_a_signed_head_opens():
    assert open_head(sealed_by(), KEYSET, EPOCHS, ACCOUNT, seq=3) == record_by()
    assert len(head_hash(sealed_by())) == 32


def test_a_head_signed_by_another_key_is_forged():
    with pytest.raises(ForgedHead, match="not signed"):
        open_head(sealed_by(LAPTOP, key=PHONE), KEYSET, EPOCHS, ACCOUNT)


def test_a_head_of_a_device_the_keyset_does_not_list_asks_for_a_newer_keyset():
    with pytest.raises(KeysetBehind):
        open_head(sealed_by(TABLET), KEYSET, EPOCHS, ACCOUNT)
    newer = KEYSET.with_device(TABLET.public(NOW))
    assert open_head(sealed_by(TABLET), newer, EPOCHS, ACCOUNT).author == TABLET.device_id


def test_a_head_that_names_a_newer_keyset_asks_for_it():
    with pytest.raises(KeysetBehind):
        open_head(sealed_by(keyset_version=2), KEYSET, EPOCHS, ACCOUNT)


def test_a_revoked_device_signs_no_heads():
    revoked = KEYSET.successor(
        devices=[REPLACE(KEYSET.devices[0], revoked_at=9), KEYSET.devices[1]]
    )
    with pytest.raises(ForgedHead, match="revoked"):
        open_head(sealed_by(LAPTOP), revoked, EPOCHS, ACCOUNT)


def test_a_revoked_devices_heads_count_up_to_the_one_its_revocation_names():
    def entry(counter: int) -> dict[str, DeviceEntry]:
        return {LAPTOP.device_id: DeviceEntry(counter, b"", 3, int(NOW))}

    revoked = KEYSET.successor(
        devices=[REPLACE(KEYSET.devices[0], revoked_at=9, revoked_counter=7), KEYSET.devices[1]]
    )
    for counter in (1, 6, 7):
        sealed = forced(record_by(devices=entry(counter)))
        assert open_head(sealed, revoked, EPOCHS, ACCOUNT).author == LAPTOP.device_id
    for counter in (8, 9, 2**50):
        with pytest.raises(ForgedHead, match="revoked"):
            open_head(forced(record_by(devices=entry(counter))), revoked, EPOCHS, ACCOUNT)
    hidden = forced(record_by(devices={PHONE.device_id: DeviceEntry(1, b"x" * 32, 3)}))
    with pytest.raises(ForgedHead, match="revoked"):  # it does not say how far it counts
        open_head(hidden, revoked, EPOCHS, ACCOUNT)


def test_in_a_log_founded_anew_a_revoked_device_has_no_counters_of_before():
    """It was revoked in the former log, up to 7, which it never wrote in the new one: so it cannot begin there."""
    revoked = KEYSET.successor(
        devices=[REPLACE(KEYSET.devices[0], revoked_at=9, revoked_counter=7), KEYSET.devices[1]],
        generation=2,
    )

    def head(counter: int) -> bytes:
        entry = {LAPTOP.device_id: DeviceEntry(counter, b"", 3, int(NOW))}
        founded_on = {LAPTOP.device_id: 5}
        return forced(record_by(devices=entry, generation=2, founded_on=founded_on))

    for counter in (1, 5, 8):
        with pytest.raises(ForgedHead, match="revoked"):
            open_head(head(counter), revoked, EPOCHS, ACCOUNT)
    assert open_head(head(6), revoked, EPOCHS, ACCOUNT).author == LAPTOP.device_id


SECOND_EPOCH = Epoch(2, b"2" * 32)
RENEWED = KEYSET.successor(epochs=[*KEYSET.epochs, EpochEntry(2, int(NOW), since_version=2)])
BOTH = {**EPOCHS, 2: SECOND_EPOCH}


@pytest.mark.parametrize(
    ("keyset", "epoch"),
    [(RENEWED, EPOCH), (RENEWED.successor(), EPOCH), (KEYSET, SECOND_EPOCH)],
    ids=["old epoch", "old epoch, later", "new epoch, old version"],
)
def test_a_head_under_another_epoch_than_its_keysets_is_forged(keyset, epoch):
    """Who knows old epochs only could else write under a new keyset, or bring others back to an old one."""
    newest = RENEWED.successor()
    record = record_by(keyset_version=keyset.version, keyset_hash=keyset.hash)
    sealed = sign_and_seal(record, LAPTOP.signing_key, epoch, ACCOUNT)
    with pytest.raises(ForgedHead, match="another epoch"):
        open_head(sealed, newest, BOTH, ACCOUNT)


@pytest.mark.parametrize(
    ("keyset", "epoch"),
    [(RENEWED, SECOND_EPOCH), (RENEWED.successor(), SECOND_EPOCH), (KEYSET, EPOCH)],
    ids=["new epoch", "new epoch, later", "head of before"],
)
def test_a_head_is_opened_under_the_epoch_of_its_keyset(keyset, epoch):
    newest = RENEWED.successor()
    record = record_by(keyset_version=keyset.version, keyset_hash=keyset.hash)
    sealed = sign_and_seal(record, LAPTOP.signing_key, epoch, ACCOUNT)
    assert open_head(sealed, newest, BOTH, ACCOUNT) == record


def test_a_head_of_a_version_without_times_opens():
    body = msgspec.to_builtins(record_by(), builtin_types=(bytes,))
    for device in body["devices"].values():
        del device["time"]
    raw = msgspec.msgpack.encode(body)
    signature = LAPTOP.signing_key.sign(with_lengths(b"leap.soledad head 1", ACCOUNT.encode(), raw))
    opened = open_head(
        sealed_raw(msgspec.msgpack.encode([raw, signature])), KEYSET, EPOCHS, ACCOUNT
    )
    assert [entry.time for entry in opened.devices.values()] == [0]


def test_the_keyset_it_names_must_be_the_one_at_hand():
    with pytest.raises(ForgedHead, match="another keyset"):
        open_head(sealed_by(keyset_hash=b"x" * 32), KEYSET, EPOCHS, ACCOUNT)


def test_a_head_shown_at_another_seq_is_forged():
    with pytest.raises(ForgedHead, match="seq 3"):
        open_head(sealed_by(), KEYSET, EPOCHS, ACCOUNT, seq=4)


def test_a_head_of_another_account_does_not_open():
    with pytest.raises(ForgedEnvelope):
        open_head(sealed_by(), KEYSET, EPOCHS, secrets_of("bob").account_id)


def test_a_head_of_another_epoch_does_not_open():
    with pytest.raises(ForgedEnvelope):
        open_head(sealed_by(), KEYSET, {1: Epoch(1, b"z" * 32)}, ACCOUNT)
    with pytest.raises(UnknownEpoch):
        open_head(sealed_by(), KEYSET, {}, ACCOUNT)


CONTRADICTIONS = [
    {"devices": {PHONE.device_id: DeviceEntry(1, b"", 0)}},
    {"parent": b"short"},
    {"devices": {LAPTOP.device_id: DeviceEntry(1, b"short", 0)}},
    {"devices": {LAPTOP.device_id: DeviceEntry(1, b"", 4)}},
    {"purge_seq": 4},
    {
        "devices": {
            LAPTOP.device_id: DeviceEntry(1, b"", 0),
            PHONE.device_id: DeviceEntry(1, b"p" * 32, 0),
        }
    },
    {
        "parent": b"p" * 32,
        "devices": {
            LAPTOP.device_id: DeviceEntry(1, b"", 0),
            PHONE.device_id: DeviceEntry(1, b"", 0),
        },
    },
]


@pytest.mark.parametrize("change", CONTRADICTIONS)
def test_a_record_that_contradicts_itself_is_neither_signed_nor_accepted(change):
    with pytest.raises(ValueError, match="head record"):
        sealed_by(**change)
    with pytest.raises(ForgedHead, match="head record"):
        open_head(forced(record_by(**change)), KEYSET, EPOCHS, ACCOUNT)


@given(st.binary(max_size=300))
@settings(max_examples=30)
def test_bytes_from_outside_raise_only_theirs(data):
    with pytest.raises((ForgedEnvelope, UnknownSuite)):
        open_head(data, KEYSET, EPOCHS, ACCOUNT)
    for inner in (data, msgspec.msgpack.encode([data, b"s" * 64])):
        with pytest.raises(ForgedHead):
            open_head(sealed_raw(inner), KEYSET, EPOCHS, ACCOUNT)


# --- successors: what honest devices do -----------------------------------------------------------------


def test_two_devices_take_turns(laptop, phone):
    for _ in range(3):
        phone.accept(laptop.commit())
        laptop.accept(phone.commit())
    assert laptop.seen.record.seq == 6


def test_the_same_head_again_is_accepted(laptop):
    laptop.accept(laptop.commit())


def test_a_device_that_missed_many_heads_catches_up(laptop, phone):
    phone.accept(laptop.commit())
    for _ in range(5):
        laptop.commit()
    phone.accept(laptop.seen)
    laptop.accept(phone.commit())


def test_a_third_device_comes_in_late(laptop, phone):
    phone.accept(laptop.commit())
    tablet = Actor(TABLET)
    tablet.accept(phone.commit())
    laptop.accept(tablet.commit())
    phone.accept(laptop.commit())


def test_a_lost_reply_is_recognised_when_the_commit_was_done(laptop, phone):
    phone.accept(laptop.commit())
    lost = laptop.attempt()
    laptop.accept(lost)
    phone.accept(lost)


def test_a_lost_reply_is_recognised_in_a_later_head_of_another_device(laptop, phone):
    phone.accept(laptop.commit())
    lost = laptop.attempt()
    phone.accept(lost)
    laptop.accept(phone.commit())
    assert laptop.own.committed == Mark(2, lost.hash)
    phone.accept(laptop.commit())


def test_a_commit_that_was_not_done_is_tried_again_under_a_new_counter(laptop, phone):
    phone.accept(laptop.commit())
    laptop.attempt()
    laptop.attempt()
    laptop.accept(phone.commit())
    assert laptop.own.committed.counter == 1
    assert laptop.own.pending == ()
    retried = laptop.commit()
    assert retried.record.devices[LAPTOP.device_id].counter == 4
    phone.accept(retried)


def test_the_very_first_commit_may_lose_its_reply_or_the_race(laptop, phone):
    mine = laptop.attempt()
    theirs = phone.commit()
    laptop.accept(theirs)
    assert laptop.own.committed is None
    phone.accept(laptop.commit())
    other = Actor(LAPTOP)
    other.own = other.own.attempted(Mark(1, mine.hash))
    other.accept(mine)


def test_an_idle_device_signs_a_head_without_items(laptop, phone):
    phone.accept(laptop.commit())
    idle = phone.commit(items=0)
    assert idle.record.seq == laptop.seen.record.seq
    laptop.accept(idle)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["commit", "pull", "lose", "fail"])),
        max_size=40,
    )
)
@settings(max_examples=40, deadline=None)
def test_honest_devices_never_see_an_alarm(steps):
    """Any mix of commits, pulls, lost replies and refused commits under an honest provider."""
    actors = [Actor(keys) for keys in (LAPTOP, PHONE, TABLET)]
    current: Head | None = None
    for which, step in steps:
        actor = actors[which]
        if current is not None and step in ("commit", "pull"):
            actor.accept(current)
        if step == "pull":
            continue
        attempted_on = actor.seen
        head = actor.attempt()
        if step == "fail" or attempted_on != current:
            continue
        current = head
        if step == "commit":
            actor.accept(head)
    for actor in actors:
        if current is not None:
            actor.accept(current)


# --- successors: what a lying provider shows --------------------------------------------------------------


def test_an_old_head_of_another_device_is_a_rollback(laptop, phone):
    old = laptop.commit()
    phone.accept(old)
    phone.accept(laptop.commit())
    with pytest.raises(RolledBack):
        phone.accept(old)


def test_an_old_head_is_a_rollback_of_ones_own_commit(laptop, phone):
    phone.accept(laptop.commit())
    before = phone.commit()
    laptop.accept(before)
    laptop.commit()
    with pytest.raises(RolledBack):
        laptop.accept(before)


def test_a_device_that_restarts_from_nothing_seen_still_knows_its_own(laptop, phone):
    phone.accept(laptop.commit())
    old = phone.commit()
    laptop.accept(old)
    laptop.commit()
    laptop.seen = None
    with pytest.raises(RolledBack):
        laptop.accept(old)


def test_an_empty_history_is_a_rollback(laptop, phone):
    laptop.commit()
    with pytest.raises(RolledBack):
        laptop.accept(phone.commit())


def test_two_forks_cannot_be_joined(laptop, phone):
    """Each device is shown only its own commits for a while; then one of them the other's."""
    phone.accept(laptop.commit())
    mine, theirs = laptop.commit(), phone.commit()
    with pytest.raises(RolledBack):
        laptop.accept(theirs)
    with pytest.raises(RolledBack):
        phone.accept(mine)


def test_a_fork_that_grew_longer_cannot_be_joined_either(laptop, phone):
    phone.accept(laptop.commit())
    laptop.commit()
    for _ in range(5):
        phone.commit()
    with pytest.raises(RolledBack):
        laptop.accept(phone.seen)


def test_a_third_device_cannot_be_moved_from_one_fork_to_the_other(laptop, phone):
    tablet = Actor(TABLET)
    phone.accept(laptop.commit())
    mine = laptop.commit()
    for _ in range(3):
        phone.commit()
    tablet.accept(mine)
    with pytest.raises(RolledBack):
        tablet.accept(phone.seen)


def test_a_cloned_device_is_noticed(laptop, phone):
    """A device restored from a copy uses its counters again."""
    clone = Actor(LAPTOP)
    phone.accept(laptop.commit())
    other = clone.attempt(items=2)
    with pytest.raises(ForkJoined, match="same counter"):
        phone.accept(other)
    with pytest.raises((ForkJoined, RolledBack)):
        laptop.accept(other)


def later(head: Head, **change) -> Head:
    return Head(REPLACE(head.record, **change), b"n" * 32)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"generation": 2}, ForkJoined),
        ({"seq": 0, "devices": {}}, RolledBack),
        ({"keyset_hash": b"x" * 32}, ForkJoined),
        ({}, ForkJoined),
        ({"devices": {}}, RolledBack),
    ],
)
def test_other_contradictions_are_alarms(laptop, phone, change, error):
    laptop.commit()
    phone.accept(laptop.commit())
    with pytest.raises(error):
        phone.accept(later(phone.seen, **change))


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (lambda old: REPLACE(old, acked_seq=0, counter=old.counter + 1), RolledBack),
        (lambda old: REPLACE(old, counter=old.counter - 1), RolledBack),
        (lambda old: REPLACE(old, last_hash=b"e" * 32), ForkJoined),
        (lambda old: REPLACE(old, acked_seq=old.acked_seq + 1), ForkJoined),
        (lambda old: REPLACE(old, counter=old.counter + 1, last_hash=b"e" * 32), ForkJoined),
    ],
)
def test_a_head_that_changes_another_devices_entry_is_an_alarm(laptop, phone, entry, error):
    """Even a device of the account cannot speak for another one."""
    laptop.commit()
    phone.accept(laptop.commit())
    tablet = Actor(TABLET)
    tablet.accept(phone.seen)
    honest = tablet.attempt()
    devices = dict(honest.record.devices)
    devices[LAPTOP.device_id] = entry(devices[LAPTOP.device_id])
    with pytest.raises(error):
        phone.accept(later(honest, devices=devices))


def test_a_log_founded_anew_is_not_accepted_unasked(laptop, phone):
    phone.accept(laptop.commit())
    honest = laptop.commit()
    with pytest.raises(ForkJoined, match="founded anew"):
        phone.accept(Head(REPLACE(honest.record, generation=2), honest.hash))
    phone.accept(honest)
    phone.seen = Head(REPLACE(honest.record, generation=2), honest.hash)
    with pytest.raises(RolledBack, match="before it was founded"):
        phone.accept(laptop.commit())


def test_a_different_head_in_which_nobody_did_anything_is_an_alarm(laptop, phone):
    phone.accept(laptop.commit())
    laptop.accept(phone.commit())
    for author in (LAPTOP, PHONE):
        with pytest.raises(ForkJoined):
            check_successor(
                OwnHeads("0" * 32), laptop.seen, later(laptop.seen, author=author.device_id)
            )


def test_a_keyset_or_purge_may_not_go_back(laptop, phone):
    phone.accept(laptop.commit(items=5))
    phone.seen = Head(REPLACE(phone.seen.record, purge_seq=3, keyset_version=4), phone.seen.hash)
    for change in ({"purge_seq": 2, "keyset_version": 4}, {"purge_seq": 3, "keyset_version": 3}):
        with pytest.raises(RolledBack):
            phone.accept(later(phone.seen, **change))


def test_every_alarm_is_of_one_kind():
    for kind in (RolledBack, ForkJoined, ForgedHead, KeysetBehind):
        assert issubclass(kind, ProviderLies)
