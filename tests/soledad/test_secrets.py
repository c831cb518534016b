"""Secrets, what a passphrase and a recovery code make, and wrapping."""

import msgspec
import pytest

from leap.soledad.envelope import Epoch
from leap.soledad.errors import ForgedEnvelope, UnknownSuite, WeakKdf, WrongKey
from leap.soledad.secrets import (
    CEILING_MEMORY_KIB,
    CEILING_TIME_COST,
    FLOOR_MEMORY_KIB,
    FLOOR_TIME_COST,
    RECOVERY_KDF,
    check_belongs,
    check_kdf_params,
    create_account_secrets,
    derive_passphrase,
    derive_recovery,
    floor_kdf_params,
    new_kdf_params,
    new_recovery_code,
    recovery_sealing_seed,
    unwrap,
    wrap,
    wrap_context,
)
from leap.soledad.wire import KdfParams
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of, seeded

ALICE, BOB = secrets_of("alice"), secrets_of("bob")
PARAMS = KdfParams(salt=b"s" * 16, time_cost=FLOOR_TIME_COST, memory_kib=FLOOR_MEMORY_KIB, lanes=1)
CONTEXT = wrap_context("alice@example.test")
REPLACE = msgspec.structs.replace


def test_a_passphrase_gives_two_unrelated_keys():
    keys = derive_passphrase("correct horse", PARAMS)
    assert keys.auth_key != keys.wrap_key
    assert keys == derive_passphrase("correct horse", PARAMS)
    other = derive_passphrase("correct horse", REPLACE(PARAMS, salt=b"t" * 16))
    assert not {*other} & {*keys}


def test_known_answer_of_the_derivation():
    """Changing this locks everybody out."""
    keys = derive_passphrase("correct horse", PARAMS)
    assert (keys.auth_key.hex()[:16], keys.wrap_key.hex()[:16]) == (
        "483b561b4ce8fa6e",
        "f9ba1643d5d1bcd6",
    )


def test_a_letter_typed_in_two_ways_is_one_passphrase():
    assert derive_passphrase("caf\u00e9", PARAMS) == derive_passphrase("cafe\u0301", PARAMS)


@pytest.mark.parametrize("passphrase", ["", "\udcff"])
def test_what_is_no_passphrase_is_refused(passphrase):
    with pytest.raises(WrongKey):
        derive_passphrase(passphrase, PARAMS)


@pytest.mark.parametrize(
    "change",
    [
        {"time_cost": FLOOR_TIME_COST - 1},
        {"time_cost": 0},
        {"time_cost": CEILING_TIME_COST + 1},
        {"memory_kib": FLOOR_MEMORY_KIB - 1},
        {"memory_kib": CEILING_MEMORY_KIB + 1},
        {"memory_kib": 2**50},
        {"lanes": 0},
        {"lanes": 10_000},
        {"salt": b"short"},
    ],
)
def test_a_provider_can_neither_weaken_nor_exhaust(change):
    with pytest.raises(WeakKdf):
        derive_passphrase("correct horse", REPLACE(PARAMS, **change))


def test_what_we_choose_ourselves_is_permitted():
    check_kdf_params(new_kdf_params())
    check_kdf_params(floor_kdf_params())
    assert new_kdf_params().salt != new_kdf_params().salt


def test_the_parameters_of_a_recovery_code_never_serve_for_a_passphrase():
    with pytest.raises(WeakKdf):
        derive_passphrase("correct horse", RECOVERY_KDF)


def test_a_recovery_code_has_24_words_and_gives_its_keys_again():
    code = new_recovery_code()
    assert len(code.split()) == 24
    assert derive_recovery(code) == derive_recovery(f"  {code.upper()}\n")
    assert derive_recovery(code) != derive_recovery(new_recovery_code())
    assert len({*derive_recovery(code), recovery_sealing_seed(code)[:32]}) == 3


@pytest.mark.parametrize("spoil", ["swap", "short", "unknown", "checksum"])
def test_a_mistyped_recovery_code_is_noticed(spoil):
    words = new_recovery_code(seeded("code")).split()
    if spoil == "swap":
        words[0], words[1] = words[1], words[0]
    elif spoil == "short":
        words.pop()
    elif spoil == "unknown":
        words[3] = "leapmail"
    else:
        words[-1] = "zoo" if words[-1] != "zoo" else "abandon"
    with pytest.raises(WrongKey, match="recovery code"):
        derive_recovery(" ".join(words))


def test_wrapped_secrets_open_again():
    assert unwrap(wrap(ALICE, b"w" * 32, CONTEXT), b"w" * 32, CONTEXT) == ALICE


def test_wrapped_secrets_do_not_open_otherwise():
    wrapped = wrap(ALICE, b"w" * 32, CONTEXT)
    for key, context in (
        (b"x" * 32, CONTEXT),
        (b"w" * 32, wrap_context("bob@example.test")),
        (b"w" * 32, wrap_context("alice@example.test", with_recovery=True)),
    ):
        with pytest.raises(ForgedEnvelope):
            unwrap(wrapped, key, context)
    with pytest.raises((ForgedEnvelope, UnknownSuite)):
        unwrap(b"", b"w" * 32, CONTEXT)


def test_wrapped_secrets_that_contradict_themselves_are_refused():
    for spoilt in (REPLACE(ALICE, root_seed=BOB.root_seed), REPLACE(ALICE, epochs=[])):
        with pytest.raises(ForgedEnvelope, match="contradict"):
            unwrap(wrap(spoilt, b"w" * 32, CONTEXT), b"w" * 32, CONTEXT)


def test_secrets_and_keyset_must_belong_together():
    keyset = keyset_of(ALICE, device_of("laptop"))
    check_belongs(ALICE, keyset, "Alice@Example.test")
    for secrets, other, address in (
        (ALICE, keyset, "bob@example.test"),
        (BOB, keyset, "bob@example.test"),
        (REPLACE(BOB, address=ALICE.address), keyset, ALICE.address),
        (REPLACE(ALICE, epochs=[Epoch(2, b"x" * 32)]), keyset, ALICE.address),
    ):
        with pytest.raises(ForgedEnvelope):
            check_belongs(secrets, other, address)


def test_every_account_gets_secrets_of_its_own():
    first, second = (create_account_secrets("a@example.test", NOW) for _ in range(2))
    for name in ("account_id", "root_seed", "id_key", "epochs", "inbox_keys"):
        assert getattr(first, name) != getattr(second, name)
    assert first.id_key != first.root_seed


@pytest.mark.parametrize(
    "value",
    [
        REPLACE(ALICE, recovery_entropy=b"e" * 32),
        device_of("laptop"),
        derive_recovery(new_recovery_code()),
    ],
)
def test_nothing_secret_is_shown(value):
    shown = repr(value) + str(value)
    secret = (
        [part for part in msgspec.structs.astuple(value) if isinstance(part, bytes)]
        if not isinstance(value, tuple)
        else list(value)
    )
    assert secret
    for part in secret:
        assert part.hex()[:8] not in shown
        assert repr(part)[2:10] not in shown
