"""The keyset: who may sign it, what it must say, and what may follow it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad.errors import BadKeyset
from leap.soledad.inbox_seal import generate_inbox_key
from leap.soledad.keyset import (
    EpochEntry,
    account_id_of,
    check_successor,
    encode_keyset,
    open_keyset,
    sign_keyset,
)
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of, seeded

ALICE, BOB = secrets_of("alice"), secrets_of("bob")
LAPTOP, PHONE = device_of("laptop"), device_of("phone")
FIRST = keyset_of(ALICE, LAPTOP)
SIGNED = sign_keyset(FIRST, ALICE.root_key)
SECOND = FIRST.with_device(PHONE.public(NOW))
REPLACE = msgspec.structs.replace


def forced(keyset) -> bytes:
    """Signed by the right root key, whatever the keyset says."""
    body = encode_keyset(keyset)
    return b"\x01" + ALICE.root_key.sign(b"leap.soledad keyset 1\0" + body) + body


def test_a_signed_keyset_opens_for_those_who_pin_its_root():
    assert open_keyset(SIGNED, root_public=ALICE.root_public) == FIRST


def test_a_provider_accepts_the_root_inside_at_sign_up():
    assert open_keyset(SIGNED, root_public=None) == FIRST


def test_another_root_key_is_refused():
    with pytest.raises(BadKeyset, match="not signed"):
        open_keyset(SIGNED, root_public=BOB.root_public)
    theirs = sign_keyset(keyset_of(BOB, LAPTOP), BOB.root_key)
    with pytest.raises(BadKeyset, match="not signed"):
        open_keyset(theirs, root_public=ALICE.root_public)


def test_the_root_key_inside_must_be_the_one_that_signed():
    body = encode_keyset(keyset_of(BOB, LAPTOP))
    crossed = b"\x01" + ALICE.root_key.sign(b"leap.soledad keyset 1\0" + body) + body
    for pinned in (ALICE.root_public, None):
        with pytest.raises(BadKeyset):
            open_keyset(crossed, root_public=pinned)


def test_a_root_key_signs_only_its_own_keyset():
    with pytest.raises(BadKeyset, match="another root key"):
        sign_keyset(FIRST, BOB.root_key)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
@settings(max_examples=40, deadline=None)
def test_every_octet_is_authenticated(position, change):
    altered = bytearray(SIGNED)
    altered[position % len(altered)] ^= change
    for pinned in (ALICE.root_public, None):
        with pytest.raises(BadKeyset):
            open_keyset(bytes(altered), root_public=pinned)


@given(st.binary(max_size=500))
@settings(max_examples=40)
def test_bytes_from_outside_raise_only_theirs(data):
    for pinned in (ALICE.root_public, None):
        with pytest.raises(BadKeyset):
            open_keyset(data, root_public=pinned)


def test_only_the_canonical_form_counts():
    """Or one keyset would have several hashes."""
    fields = msgspec.msgpack.decode(encode_keyset(FIRST))
    for body in (
        msgspec.msgpack.encode(dict(reversed(fields.items()))),
        msgspec.msgpack.encode({**fields, "more": 1}),
        msgspec.msgpack.encode(fields) + b"\x00",
    ):
        signed = b"\x01" + ALICE.root_key.sign(b"leap.soledad keyset 1\0" + body) + body
        with pytest.raises(BadKeyset):
            open_keyset(signed, root_public=ALICE.root_public)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"account_id": "0" * 32}, "account id"),
        ({"address": "Alice@example.test"}, "lower-case"),
        ({"address": "alice"}, "lower-case"),
        ({"previous": b"x" * 32}, "predecessor"),
        ({"version": 2}, "predecessor"),
        ({"devices": []}, "no device"),
        ({"epochs": []}, "no device, no epoch"),
        ({"inbox_keys": []}, "no device, no epoch or no inbox"),
        ({"devices": [FIRST.devices[0]] * 2}, "device twice"),
        (
            {"devices": [FIRST.devices[0], REPLACE(FIRST.devices[0], device_id="0" * 32)]},
            "signing key twice",
        ),
        ({"inbox_keys": FIRST.inbox_keys * 2}, "inbox key twice"),
        ({"epochs": [EpochEntry(2, 0), EpochEntry(1, 0)]}, "order"),
        ({"epochs": [EpochEntry(1, 0), EpochEntry(2, 0)]}, "one after the other"),
        ({"epochs": [EpochEntry(1, 0, since_version=2)]}, "one after the other"),
        ({"epochs": [EpochEntry(1, 0), EpochEntry(2, 0, since_version=9)]}, "one after the other"),
        ({"devices": [REPLACE(FIRST.devices[0], revoked_counter=3)]}, "as if it were revoked"),
        ({"version": 0}, "malformed"),
        ({"root_public": b"short"}, "not signed|malformed|another root"),
    ],
)
def test_a_keyset_that_contradicts_itself_is_refused(change, reason):
    with pytest.raises(BadKeyset, match=reason):
        open_keyset(forced(REPLACE(FIRST, **change)), root_public=ALICE.root_public)


def test_the_newest_inbox_key_in_use_is_sealed_to():
    old = FIRST.inbox_keys[0]
    new = generate_inbox_key(NOW + 10, seeded("new")).public
    newest = REPLACE(generate_inbox_key(NOW + 20, seeded("newest")).public, retired=int(NOW + 30))
    assert REPLACE(FIRST, inbox_keys=[old, newest, new]).inbox_key() == new
    with pytest.raises(BadKeyset):
        REPLACE(FIRST, inbox_keys=[newest]).inbox_key()


def test_devices_are_found_by_id():
    assert SECOND.device(PHONE.device_id) == PHONE.public(NOW)
    assert FIRST.device(PHONE.device_id) is None


def test_a_successor_is_accepted_and_so_is_the_same_keyset():
    check_successor(FIRST, FIRST)
    check_successor(FIRST, SECOND)
    revoked = REPLACE(FIRST.devices[0], revoked_at=5)
    check_successor(SECOND, SECOND.successor(devices=[revoked, SECOND.devices[1]]))
    check_successor(FIRST, SECOND.successor())  # one in between was missed
    assert sign_keyset(SECOND, ALICE.root_key)


REVOKED = SECOND.successor(devices=[REPLACE(FIRST.devices[0], revoked_at=5), SECOND.devices[1]])


@pytest.mark.parametrize(
    ("known", "new", "reason"),
    [
        (SECOND, FIRST, "rolled back"),
        (FIRST, keyset_of(BOB, LAPTOP), "another account"),
        (FIRST, REPLACE(SECOND, address="eve@example.test"), "another address"),
        (FIRST, REPLACE(FIRST, epochs=[EpochEntry(1, 7)]), "two different"),
        (FIRST, REPLACE(SECOND, previous=b"x" * 32), "does not follow"),
        (SECOND, SECOND.successor(devices=[SECOND.devices[0]]), "lost the device"),
        (
            SECOND,
            SECOND.successor(
                devices=[SECOND.devices[0], REPLACE(SECOND.devices[1], signing_public=b"e" * 32)]
            ),
            "changes the keys",
        ),
        (REVOKED, REVOKED.successor(devices=SECOND.devices), "revocation"),
        (
            FIRST,
            FIRST.successor(epochs=[EpochEntry(2, 0)]),
            "lost an epoch",
        ),
        (
            FIRST,
            FIRST.successor(epochs=[*FIRST.epochs, EpochEntry(2, 0, since_version=1)]),
            "began before it",
        ),
        (
            SECOND,
            SECOND.successor(epochs=[REPLACE(SECOND.epochs[0], created=7)]),
            "when an epoch began",
        ),
        (
            REVOKED,
            REVOKED.successor(
                devices=[REPLACE(REVOKED.devices[0], revoked_counter=9), REVOKED.devices[1]]
            ),
            "revocation",
        ),
    ],
)
def test_what_does_not_follow_is_refused(known, new, reason):
    with pytest.raises(BadKeyset, match=reason):
        check_successor(known, new)


def test_a_keyset_signed_before_there_were_newer_fields_keeps_its_form():
    """What says nothing new is left out, so that keysets stored by older versions still open."""
    fields = msgspec.msgpack.decode(encode_keyset(FIRST))
    assert "revoked_counter" not in fields["devices"][0]
    assert "since_version" not in fields["epochs"][0]
    assert open_keyset(forced(FIRST), root_public=ALICE.root_public) == FIRST


def test_the_epoch_in_force_is_told_for_each_version():
    later = SECOND.successor(epochs=[*SECOND.epochs, EpochEntry(2, 0, since_version=3)])
    check_successor(SECOND, later)
    assert [later.epoch_at(version) for version in (1, 2, 3, 4)] == [1, 1, 2, 2]
    signed = sign_keyset(later, ALICE.root_key)
    assert open_keyset(signed, root_public=ALICE.root_public) == later


def test_the_account_id_is_bound_to_the_root_key():
    assert account_id_of(ALICE.root_public) == ALICE.account_id != BOB.account_id
