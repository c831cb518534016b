"""What a device keeps of its account."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.soledad.envelope import Epoch
from leap.soledad.errors import BadKeyset, WrongKey
from leap.soledad.keyset import sign_keyset
from leap.soledad.material import AccountMaterial, decode_material, encode_material
from tests.soledad.people import device_of, keyset_of, secrets_of

ALICE, BOB, LAPTOP = secrets_of("alice"), secrets_of("bob"), device_of("laptop")
KEYSET = keyset_of(ALICE, LAPTOP)
MATERIAL = AccountMaterial(
    account_id=ALICE.account_id,
    address=ALICE.address,
    root_public=ALICE.root_public,
    id_key=ALICE.id_key,
    epochs=[*ALICE.epochs, Epoch(2, b"z" * 32)],
    inbox_keys=ALICE.inbox_keys,
    device=LAPTOP,
    keyset=sign_keyset(KEYSET, ALICE.root_key),
    api_url="https://localhost:4430",
    token="a-token-of-this-device",
)


def test_material_comes_back_as_it_was():
    assert decode_material(encode_material(MATERIAL)) == MATERIAL


def test_the_root_seed_is_not_in_it():
    assert ALICE.root_seed not in encode_material(MATERIAL)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_in_one_way(data):
    with pytest.raises(WrongKey):
        decode_material(data)


def test_the_newest_epoch_seals_and_all_open():
    assert MATERIAL.epoch.number == 2
    assert set(MATERIAL.epochs_by_number) == {1, 2}


def test_the_keyset_is_checked_against_the_pinned_root():
    assert MATERIAL.open_keyset() == KEYSET
    with pytest.raises(BadKeyset):
        msgspec.structs.replace(MATERIAL, root_public=BOB.root_public).open_keyset()


def test_token_and_keyset_can_be_replaced():
    assert MATERIAL.with_token(None).token is None
    assert MATERIAL.with_keyset(b"newer").keyset == b"newer"


def test_nothing_secret_is_shown():
    shown = repr(MATERIAL)
    assert "a-token" not in shown
    for secret in (MATERIAL.id_key, MATERIAL.epoch.key, LAPTOP.signing_seed):
        assert repr(secret)[2:10] not in shown
