"""The recovery code: shown again, replaced, and a new machine by it without the passphrase."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from leap.soledad import restore
from leap.soledad.devices import revoke_device
from leap.soledad.enrol import ATTEMPTS, enrol_by_recovery, enrol_device, open_secrets
from leap.soledad.envelope import Epoch, seal
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    KeysetMoved,
    MissingSecrets,
    Unreachable,
    WrongKey,
)
from leap.soledad.keyset import RECOVERY, open_keyset, sign_keyset
from leap.soledad.passphrase import (
    change_passphrase,
    replace_recovery_code,
    show_recovery_code,
)
from leap.soledad.restore import restore_account
from leap.soledad.secrets import (
    derive_passphrase,
    derive_recovery,
    floor_kdf_params,
    new_recovery_code,
    unwrap,
    wrap,
    wrap_context,
)
from tests.provider.world import Served, opened, served
from tests.soledad.members import ALICE, NEW, OLD, Line, Member, quick_stretching

REPLACE = msgspec.structs.replace


@pytest.fixture
async def https(tmp_path: Path, monkeypatch) -> AsyncIterator[Served]:
    quick_stretching(monkeypatch)
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


@pytest.fixture
async def laptop(https: Served, tmp_path: Path) -> AsyncIterator[Member]:
    member = await Member.signing_up(https, tmp_path)
    yield member
    await member.close()


@pytest.fixture
async def line(https: Served) -> AsyncIterator[Line]:
    async with Line(https.url, ca_file=https.ca_file) as line:
        yield line


async def restored(line: Line, code: str, passphrase: str = NEW, name: str = "fresh"):
    return await restore_account(line, ALICE, code, passphrase, name, kdf=floor_kdf_params)


async def test_the_code_is_shown_again_and_only_with_the_passphrase(laptop: Member):
    assert await show_recovery_code(laptop.keys, OLD) == laptop.code
    with pytest.raises(WrongKey):
        await show_recovery_code(laptop.keys, "not that")


async def test_the_recovery_wrap_does_not_hold_the_code(laptop: Member):
    reply = await laptop.client.secrets()
    keys = derive_recovery(laptop.code)
    inside = unwrap(reply.wraps.recovery, keys.wrap_key, wrap_context(ALICE, with_recovery=True))
    assert inside.recovery_code is None


async def without_code(laptop: Member, https: Served) -> None:
    """The account as versions before this one made it."""
    opened_ = await laptop.keys.open(OLD)
    bare = msgspec.to_builtins(opened_.secrets, builtin_types=(bytes,))
    del bare["recovery_entropy"]
    wrapped = seal(
        msgspec.msgpack.encode(bare),
        kind="secrets",
        account=wrap_context(ALICE),
        item_id=b"",
        version=0,
        epoch=Epoch(0, opened_.keys.wrap_key),
        compress=False,
    )
    await https.provider.accounts._db.write(
        lambda c: c.execute("UPDATE account SET wrap_passphrase = ?", (wrapped,))
    )


async def test_an_account_of_before_has_no_code_to_show_and_can_get_a_new_one(
    laptop: Member, https: Served
):
    await without_code(laptop, https)
    assert await show_recovery_code(laptop.keys, OLD) is None
    await change_passphrase(laptop.keys, OLD, NEW)  # keeps what it does not know
    assert await show_recovery_code(laptop.keys, NEW) is None
    code = await replace_recovery_code(laptop.keys, NEW)
    assert await show_recovery_code(laptop.keys, NEW) == code


async def test_a_new_code_ends_the_one_before(laptop: Member, line: Line):
    code = await replace_recovery_code(laptop.keys, OLD)
    assert code != laptop.code
    assert await show_recovery_code(laptop.keys, OLD) == code
    assert laptop.material.epoch.number == 1
    assert laptop.material.open_keyset().version == 2
    with pytest.raises(AuthFailed):
        await restored(line, laptop.code)
    assert (await restored(line, code)).material.account_id == laptop.material.account_id


async def test_a_new_machine_needs_the_words_only(
    laptop: Member, line: Line, https: Served, tmp_path: Path
):
    await laptop.put("note", text="kept")
    await laptop.sync()
    enrolled = await restored(line, laptop.code)
    fresh = await Member.of(https, tmp_path, "fresh", line, enrolled, NEW)
    await fresh.sync()
    assert (await fresh.content("note"))["text"] == "kept"
    assert await laptop.provider_takes(OLD, NEW) == [NEW]
    assert fresh.material.epoch.number == 2
    assert [key.key_id for key in laptop.material.inbox_keys] == [
        fresh.material.inbox_keys[0].key_id
    ]
    assert await show_recovery_code(fresh.keys, NEW) == laptop.code
    # The laptop, whose log-in lives on, hears of the new epoch; then it is let out.
    await laptop.sync()
    assert laptop.material.epochs == fresh.material.epochs
    await laptop.put("note", text="from the laptop")
    await laptop.sync()
    await revoke_device(fresh.keys, laptop.device_id, NEW, None, fresh.sync)
    assert (await fresh.content("note"))["text"] == "from the laptop"
    with pytest.raises(AuthFailed):
        await laptop.sync()
    await fresh.close()


async def test_epochs_after_the_wrap_was_made_come_out_of_the_keyset(
    laptop: Member, line: Line, https: Served, tmp_path: Path
):
    """A revocation that keeps the passphrase leaves the recovery wrap as it is."""
    phone = await Member.enrolling(https, tmp_path, "phone")
    await laptop.sync()
    wrapped = (await laptop.client.secrets()).wraps.recovery
    await revoke_device(laptop.keys, phone.device_id, OLD, None, laptop.sync)
    reply = await laptop.client.secrets()
    assert reply.wraps.recovery == wrapped
    assert len(open_keyset(reply.keyset, root_public=laptop.material.root_public).epochs) == 2
    await laptop.put("note", text="of the second epoch")
    await laptop.sync()
    by_code = await enrol_by_recovery(line, ALICE, laptop.code, "other")
    assert by_code.material.epochs == laptop.material.epochs
    assert by_code.material.inbox_keys == laptop.material.inbox_keys
    enrolled = await restored(line, laptop.code)
    assert enrolled.material.epochs[:2] == laptop.material.epochs
    fresh = await Member.of(https, tmp_path, "fresh", line, enrolled, NEW)
    await fresh.sync()
    assert (await fresh.content("note"))["text"] == "of the second epoch"
    await fresh.close()
    await phone.close()


async def test_an_epoch_that_is_not_sealed_to_the_code_is_refused(laptop: Member):
    """A provider cannot leave it out, as the keyset is signed; this is what the device would say."""
    await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    opened_ = await laptop.keys.open(NEW)
    code = opened_.secrets.recovery_code
    keyset = opened_.keyset
    bare = [
        REPLACE(entry, sealed={k: v for k, v in entry.sealed.items() if k != RECOVERY})
        for entry in keyset.epochs
    ]
    keys = derive_recovery(code)
    old = REPLACE(opened_.secrets, epochs=opened_.secrets.epochs[:1])
    reply = REPLACE(
        opened_.reply,
        keyset=sign_keyset(REPLACE(keyset, epochs=bare), opened_.secrets.root_key),
        wraps=REPLACE(
            opened_.reply.wraps,
            recovery=wrap(old, keys.wrap_key, wrap_context(ALICE, with_recovery=True)),
        ),
    )
    with pytest.raises(BadKeyset, match="recovery code"):
        open_secrets(reply, keys, ALICE, code)


async def test_wrong_words_and_empty_passphrases_change_nothing(laptop: Member, line: Line):
    keyset = laptop.material.keyset
    for code, passphrase, error in (
        ("one two three", NEW, WrongKey),
        (new_recovery_code(), NEW, AuthFailed),
        (laptop.code, "", WrongKey),
    ):
        with pytest.raises(error):
            await restored(line, code, passphrase)
    assert line.token is None
    assert (await laptop.client.secrets()).keyset == keyset
    assert await laptop.provider_takes(OLD, NEW) == [OLD]


@pytest.mark.parametrize("fate", ["reply", "request"])
async def test_a_lost_reply_restores_once(laptop: Member, line: Line, fate):
    line.lose["put_keyset"] = [fate]
    enrolled = await restored(line, laptop.code)
    keyset = enrolled.material.open_keyset()
    assert [device.name for device in keyset.devices] == ["laptop", "fresh"]
    assert (await line.secrets()).keyset == enrolled.material.keyset
    assert await laptop.provider_takes(OLD, NEW) == [NEW]


@pytest.mark.parametrize("fate", ["reply", "request"])
async def test_a_crash_while_restoring_leaves_the_words_good(laptop: Member, line: Line, fate):
    """Whatever was done: doing it again with the same words works."""
    line.lose["put_keyset"] = [fate] * ATTEMPTS
    line.lose["secrets"] = ["", *["request"] * ATTEMPTS]
    with pytest.raises(Unreachable):
        await restored(line, laptop.code)
    assert line.token is None
    takes = await laptop.provider_takes(OLD, NEW)
    assert takes == ([NEW] if fate == "reply" else [OLD])
    line.lose.clear()
    await restored(line, laptop.code, "a third passphrase")
    assert await laptop.provider_takes(OLD, NEW, "a third passphrase") == ["a third passphrase"]


async def test_an_enrolment_that_comes_between_is_no_obstacle(
    laptop: Member, line: Line, https: Served, tmp_path: Path
):
    put = line.put_keyset

    async def late(change):
        line.put_keyset = put
        async with Line(https.url, ca_file=https.ca_file) as other:
            await enrol_device(other, ALICE, OLD, "phone")
        await put(change)

    line.put_keyset = late
    names = [
        device.name for device in (await restored(line, laptop.code)).material.open_keyset().devices
    ]
    assert names == ["laptop", "phone", "fresh"]


async def test_a_provider_that_answers_no_secrets_gets_no_new_ones(laptop: Member, line: Line):
    secrets = line.secrets

    async def none():
        reply = await secrets()
        return REPLACE(reply, wraps=REPLACE(reply.wraps, passphrase=b"", recovery=b""))

    line.secrets = none
    with pytest.raises(MissingSecrets):
        await restored(line, laptop.code)
    assert await laptop.provider_takes(OLD, NEW) == [OLD]


async def test_a_keyset_that_always_moves_ends_in_an_error(laptop: Member, line: Line):
    async def contended(change):
        raise KeysetMoved("keyset-moved", "another device was first", 409)

    line.put_keyset = contended
    with pytest.raises(KeysetMoved):
        await restored(line, laptop.code)
    assert line.token is None
    assert restore.ATTEMPTS == ATTEMPTS


async def test_what_the_old_passphrase_opens_ends_with_a_restoring(laptop: Member, line: Line):
    kdf = await laptop.client.kdf_of(ALICE)
    before = await laptop.client.secrets()
    old = unwrap(before.wraps.passphrase, derive_passphrase(OLD, kdf).wrap_key, wrap_context(ALICE))
    after = (await restored(line, laptop.code)).material
    assert {epoch.number for epoch in old.epochs} == {1}
    assert after.epoch.number == 2
    assert after.open_keyset().inbox_key().key_id not in {key.key_id for key in old.inbox_keys}
