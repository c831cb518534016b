"""New epochs in the keyset: sealed to each device and to the recovery code, and opened by nobody else."""

import msgspec
import pytest

from leap.soledad import epoch_seal as module
from leap.soledad.envelope import Epoch
from leap.soledad.epoch_seal import EpochPayload, open_epoch, open_missing, seal_epoch, seal_to_all
from leap.soledad.errors import BadKeyset, UnknownSuite
from leap.soledad.inbox_seal import generate_inbox_key, public_of
from leap.soledad.keyset import RECOVERY, EpochEntry
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of, seeded

ALICE = secrets_of("alice")
LAPTOP, PHONE = device_of("laptop"), device_of("phone")
CODE_SEED = seeded("code")(96)
REPLACE = msgspec.structs.replace
KEY = generate_inbox_key(NOW, seeded("inbox"))
PAYLOAD = EpochPayload(Epoch(2, b"2" * 32), KEY)
RECIPIENTS = {
    LAPTOP.device_id: public_of(LAPTOP.sealing_seed),
    RECOVERY: public_of(CODE_SEED),
}
ENTRY = EpochEntry(2, int(NOW), seal_to_all(PAYLOAD, RECIPIENTS, ALICE.account_id), since_version=2)
FIRST = keyset_of(ALICE, LAPTOP, PHONE)
KEYSET = FIRST.successor(epochs=[*FIRST.epochs, ENTRY], inbox_keys=[*FIRST.inbox_keys, KEY.public])


@pytest.mark.parametrize(
    ("seed", "recipient"),
    [(LAPTOP.sealing_seed, LAPTOP.device_id), (CODE_SEED, RECOVERY)],
    ids=["device", "recovery code"],
)
def test_each_recipient_opens_what_is_sealed_to_it(seed, recipient):
    assert open_epoch(ENTRY, seed, ALICE.account_id, recipient) == PAYLOAD
    assert open_missing(KEYSET, ALICE.epochs, seed, recipient) == [PAYLOAD]
    assert open_missing(KEYSET, [*ALICE.epochs, PAYLOAD.epoch], seed, recipient) == []


def test_what_is_sealed_to_one_opens_for_no_other():
    with pytest.raises(BadKeyset, match="does not open"):
        open_epoch(ENTRY, PHONE.sealing_seed, ALICE.account_id, LAPTOP.device_id)
    with pytest.raises(BadKeyset, match="nothing sealed to this device"):
        open_epoch(ENTRY, PHONE.sealing_seed, ALICE.account_id, PHONE.device_id)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"sealed": {PHONE.device_id: ENTRY.sealed[LAPTOP.device_id]}},
        {"sealed": {RECOVERY: ENTRY.sealed[LAPTOP.device_id]}},
    ],
    ids=["epoch", "device", "recovery"],
)
def test_a_seal_is_bound_to_epoch_and_recipient(change):
    moved = REPLACE(ENTRY, **change)
    (recipient, *_) = moved.sealed
    with pytest.raises(BadKeyset, match="does not open"):
        open_epoch(moved, LAPTOP.sealing_seed, ALICE.account_id, recipient)


def test_a_seal_is_bound_to_the_account():
    with pytest.raises(BadKeyset, match="does not open"):
        open_epoch(ENTRY, LAPTOP.sealing_seed, secrets_of("bob").account_id, LAPTOP.device_id)


def test_every_octet_is_authenticated():
    sealed = ENTRY.sealed[LAPTOP.device_id]
    for position in (1, 600, 1118, 1150, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[position] ^= 1
        entry = REPLACE(ENTRY, sealed={LAPTOP.device_id: bytes(altered)})
        with pytest.raises(BadKeyset):
            open_epoch(entry, LAPTOP.sealing_seed, ALICE.account_id, LAPTOP.device_id)
    for size in range(1, len(sealed), 97):
        entry = REPLACE(ENTRY, sealed={LAPTOP.device_id: sealed[:size]})
        with pytest.raises(BadKeyset):
            open_epoch(entry, LAPTOP.sealing_seed, ALICE.account_id, LAPTOP.device_id)


def test_another_suite_is_named():
    entry = REPLACE(ENTRY, sealed={LAPTOP.device_id: b"\x09" + bytes(2000)})
    with pytest.raises(UnknownSuite, match="suite 9"):
        open_epoch(entry, LAPTOP.sealing_seed, ALICE.account_id, LAPTOP.device_id)


def test_a_key_of_another_epoch_inside_is_refused():
    """Or an old key, known to others, could be given out as the new one."""
    wrong = EpochPayload(Epoch(1, ALICE.epochs[0].key))
    public = RECIPIENTS[LAPTOP.device_id]
    sealed = seal_epoch(wrong, public, ALICE.account_id, LAPTOP.device_id)
    entry = EpochEntry(1, 0, {LAPTOP.device_id: sealed})
    assert open_epoch(entry, LAPTOP.sealing_seed, ALICE.account_id, LAPTOP.device_id) == wrong
    info = module._info(ALICE.account_id, 2, LAPTOP.device_id)
    body = msgspec.msgpack.encode(wrong)
    forged = b"\x01" + module.HPKE.encrypt(body, module.load_public(public), info=info)
    entry = REPLACE(ENTRY, sealed={LAPTOP.device_id: forged})
    with pytest.raises(BadKeyset, match="another epoch"):
        open_epoch(entry, LAPTOP.sealing_seed, ALICE.account_id, LAPTOP.device_id)


def test_an_inbox_key_that_the_keyset_does_not_list_is_refused():
    without = FIRST.successor(epochs=[*FIRST.epochs, ENTRY])
    other = generate_inbox_key(NOW, seeded("other"))
    for keyset in (without, REPLACE(without, inbox_keys=[*FIRST.inbox_keys, other.public])):
        with pytest.raises(BadKeyset, match="does not list"):
            open_missing(keyset, ALICE.epochs, LAPTOP.sealing_seed, LAPTOP.device_id)


def test_nothing_secret_is_shown():
    assert "222" not in repr(PAYLOAD)
