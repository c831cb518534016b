"""Changing the passphrase: what holds afterwards, and that a crash or a lost reply anywhere leaves one that does."""

import asyncio
import stat
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from leap.soledad import account_keys
from leap.soledad.blobs.format import open_blob
from leap.soledad.enrol import open_secrets
from leap.soledad.envelope import Epoch, open_envelope
from leap.soledad.epoch_seal import open_epoch
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    BlobAltered,
    ChangeUnderWay,
    ForgedEnvelope,
    KeysetMoved,
    PassphraseChanged,
    SoledadError,
    UnknownEpoch,
    Unreachable,
    WeakKdf,
    WrongKey,
)
from leap.soledad.inbox_seal import open_from_inbox, seal_to_inbox
from leap.soledad.keyset import RECOVERY, open_keyset
from leap.soledad.passphrase import change_passphrase, replace_recovery_code
from leap.soledad.renewal import Wanted, renew
from leap.soledad.secrets import (
    derive_passphrase,
    derive_recovery,
    recovery_sealing_seed,
    unwrap,
    wrap_context,
)
from leap.soledad.syncing.items import KIND
from leap.soledad.vault import open_vault
from leap.soledad.wire import PullRequest
from tests.provider.world import Served, opened, served
from tests.soledad.members import (
    ALICE,
    NEW,
    OLD,
    STEPS,
    THIRD,
    Crash,
    Member,
    Tripwire,
    quick_stretching,
)

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


async def test_a_plain_change_keeps_epoch_and_recovery_code(laptop: Member):
    before = laptop.material
    assert await change_passphrase(laptop.keys, OLD, NEW) is None
    assert await laptop.settled_on(OLD, NEW) == NEW
    after = laptop.material
    assert (after.epochs, after.inbox_keys) == (before.epochs, before.inbox_keys)
    assert after.token == before.token
    keyset = after.open_keyset()
    assert keyset.version == 2
    assert keyset.recovery_public == before.open_keyset().recovery_public
    assert (await laptop.keys.open(NEW)).secrets.recovery_code == laptop.code
    assert stat.S_IMODE(laptop.vault.stat().st_mode) == 0o600
    await laptop.sync()


async def test_each_change_stretches_the_passphrase_with_a_new_salt(laptop: Member):
    before = await laptop.client.kdf_of(ALICE)
    await change_passphrase(laptop.keys, OLD, NEW)
    assert (await laptop.client.kdf_of(ALICE)).salt != before.salt


async def test_a_leaked_passphrase_brings_epoch_inbox_key_and_recovery_code(laptop: Member):
    before = laptop.material
    await laptop.put("note", text="before")
    await laptop.sync()
    code = await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    assert code not in (None, laptop.code)
    after = laptop.material
    assert [epoch.number for epoch in after.epochs] == [1, 2]
    assert len(after.inbox_keys) == 2
    keyset = after.open_keyset()
    assert [key.retired is None for key in keyset.inbox_keys] == [False, True]
    assert keyset.inbox_key().key_id == after.inbox_keys[1].key_id
    assert (await laptop.keys.open(NEW)).secrets.recovery_code == code
    # Mail that was sealed before and is still queued opens.
    sealed = seal_to_inbox(b"a letter", before.inbox_keys[0].public, after.account_id)
    assert open_from_inbox(sealed, after.inbox_keys, after.account_id) == b"a letter"
    recovery = derive_recovery(laptop.code)
    with pytest.raises(AuthFailed):
        await laptop.client.log_in(ALICE, recovery.auth_key, "0" * 32, "x", with_recovery=True)


async def test_the_other_device_goes_on_and_learns_the_new_epoch(
    laptop: Member, https: Served, tmp_path: Path
):
    phone = await Member.enrolling(https, tmp_path, "phone")
    await laptop.put("note", text="first")
    await laptop.sync()
    await phone.sync()
    await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    await laptop.sync()  # the head under the new epoch, although nothing else is to be told
    await phone.sync()
    assert phone.material.epochs == laptop.material.epochs
    assert phone.material.inbox_keys == laptop.material.inbox_keys
    await phone.put("note", text="second")
    await phone.sync()
    await laptop.sync()
    assert (await laptop.content("note"))["text"] == "second"
    await phone.close()


async def test_a_commit_on_its_way_when_the_epoch_changes_is_settled(laptop: Member):
    await laptop.put("note", n=1)
    await laptop.sync()
    await laptop.put("note", n=2)
    commit = laptop.client.commit

    async def lost(request):
        await commit(request)
        raise Unreachable("the reply was lost")

    laptop.client.commit = lost
    with pytest.raises(SoledadError):
        await laptop.sync()
    laptop.client.commit = commit
    await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    await laptop.put("note", n=3)
    await laptop.sync()
    await laptop.sync()
    assert not laptop.engine.status.alarm


async def test_a_commit_acknowledged_after_the_epoch_changed_is_counted_under_its_own(
    laptop: Member, https: Served, tmp_path: Path
):
    """The sum of the set hangs on the epoch: taken for the new one, it would alarm every other device."""
    await laptop.put("note", n=1)
    await laptop.sync()
    commit = laptop.client.commit

    async def meanwhile(request):
        reply = await commit(request)
        laptop.client.commit = commit
        # As another part of the program might, without waiting for the sync.
        signed = (await laptop.client.secrets()).keyset
        await laptop.engine._puller.adopt_keyset(signed)
        return reply

    opened_ = await laptop.keys.open(OLD)
    keys = Wanted(opened_.keys, epoch=True)
    renewed = renew(opened_.secrets, opened_.keyset, opened_.reply.wraps, keys, 1_800_000_000.0)
    await laptop.client.put_keyset(renewed.put)
    await laptop.put("note", n=2)
    laptop.client.commit = meanwhile
    await laptop.sync()
    await laptop.put("note", n=3)
    await laptop.sync()
    assert laptop.material.epoch.number == 2
    phone = await Member.enrolling(https, tmp_path, "phone")
    await phone.sync()
    assert (await phone.content("note"))["n"] == 3
    await phone.close()


# --- refusals ----------------------------------------------------------------------------------------


async def test_a_wrong_passphrase_changes_nothing(laptop: Member):
    with pytest.raises(WrongKey):
        await change_passphrase(laptop.keys, "not that", NEW)
    assert await laptop.settled_on(OLD, NEW) == OLD


async def test_a_passphrase_changed_elsewhere_is_named(
    laptop: Member, https: Served, tmp_path: Path
):
    phone = await Member.enrolling(https, tmp_path, "phone")
    await change_passphrase(laptop.keys, OLD, NEW)
    with pytest.raises(PassphraseChanged, match="another device"):
        await change_passphrase(phone.keys, OLD, THIRD)
    await phone.sync()  # its log-in lives on
    await phone.close()


async def test_altered_secrets_are_not_taken_for_a_changed_passphrase(laptop: Member, monkeypatch):
    fetch = account_keys.fetch_secrets

    async def altered(client):
        reply = await fetch(client)
        wrapped = bytearray(reply.wraps.passphrase)
        wrapped[60] ^= 1
        wraps = REPLACE(reply.wraps, passphrase=bytes(wrapped))
        return REPLACE(reply, wraps=wraps)

    monkeypatch.setattr(account_keys, "fetch_secrets", altered)
    with pytest.raises(ForgedEnvelope):
        await change_passphrase(laptop.keys, OLD, NEW)


@pytest.mark.parametrize("change", [{"memory_kib": 8}, {"time_cost": 1}, {"memory_kib": 2**21}])
async def test_stretching_too_weak_or_too_costly_is_refused_before_anything_is_sent(
    laptop: Member, change
):
    params = await laptop.client.kdf_of(ALICE)

    async def others(address):
        return REPLACE(params, **change)

    laptop.client.kdf_of, kdf_of = others, laptop.client.kdf_of
    with pytest.raises(WeakKdf):
        await change_passphrase(laptop.keys, OLD, NEW)
    assert not laptop.client.sent
    laptop.client.kdf_of = kdf_of
    assert await laptop.settled_on(OLD, NEW) == OLD


async def test_a_keyset_of_before_is_refused(laptop: Member):
    first = await laptop.client.secrets()
    await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    second = await laptop.client.secrets()

    async def rolled_back():
        return REPLACE(second, keyset=first.keyset, keyset_version=first.keyset_version)

    laptop.client.secrets = rolled_back
    with pytest.raises((BadKeyset, ForgedEnvelope)):
        await change_passphrase(laptop.keys, NEW, THIRD)


async def test_an_enrolment_that_comes_between_does_not_stop_the_change(
    laptop: Member, https: Served, tmp_path: Path
):
    put, phones = laptop.client.put_keyset, []

    async def late(change):
        laptop.client.put_keyset = put
        phones.append(await Member.enrolling(https, tmp_path, "phone"))
        await put(change)

    laptop.client.put_keyset = late
    await change_passphrase(laptop.keys, OLD, NEW)
    assert await laptop.settled_on(OLD, NEW) == NEW
    assert [device.name for device in laptop.material.open_keyset().devices] == ["laptop", "phone"]
    await phones[0].close()


async def test_a_change_that_was_made_before_the_keyset_moved_on_is_not_undone(
    laptop: Member, https: Served, tmp_path: Path
):
    """A request whose connection broke was sent again; in between, another device was enrolled."""
    put, phones = laptop.client.put_keyset, []

    async def twice(change):
        laptop.client.put_keyset = put
        await put(change)
        phones.append(await Member.enrolling(https, tmp_path, "phone", NEW))
        await put(change)

    laptop.client.put_keyset = twice
    code = await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    assert await laptop.settled_on(OLD, NEW) == NEW
    assert (await laptop.keys.open(NEW)).secrets.recovery_code == code
    assert laptop.material.epochs == phones[0].material.epochs
    assert len(laptop.client.sent) == 3  # no second change was made
    await phones[0].close()


async def test_of_two_changes_at_the_same_time_one_takes_place(
    laptop: Member, https: Served, tmp_path: Path
):
    """Their keysets are the same octets: the second is not taken for the first one sent again."""
    phone = await Member.enrolling(https, tmp_path, "phone")
    put = laptop.client.put_keyset

    async def late(change):
        laptop.client.put_keyset = put
        await change_passphrase(phone.keys, OLD, THIRD)
        await put(change)

    laptop.client.put_keyset = late
    with pytest.raises((KeysetMoved, PassphraseChanged)):
        await change_passphrase(laptop.keys, OLD, NEW)
    assert await phone.settled_on(OLD, NEW, THIRD) == THIRD
    assert await laptop.opens_with(OLD, NEW, THIRD) == [OLD]
    assert await laptop.keys.pending() is None
    await laptop.keys.take_passphrase(THIRD, await open_vault(laptop.vault, OLD))
    assert await laptop.settled_on(OLD, NEW, THIRD) == THIRD
    await phone.close()


# --- lost replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fates", [["reply"], ["request"]])
async def test_a_lost_reply_is_looked_up(laptop: Member, fates):
    laptop.client.lose["put_keyset"] = list(fates)
    await change_passphrase(laptop.keys, OLD, NEW)
    assert await laptop.settled_on(OLD, NEW) == NEW


@pytest.mark.parametrize("fate", ["reply", "request"])
@pytest.mark.parametrize("typed", [OLD, NEW])
async def test_while_nothing_is_known_both_open_the_device_and_then_one(
    laptop: Member, fate, typed
):
    laptop.client.lose["put_keyset"] = [fate, "request"]
    with pytest.raises(ChangeUnderWay):
        await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    assert await laptop.opens_with(OLD, NEW) == [OLD, NEW]
    await laptop.restart(typed)
    assert await laptop.keys.settle(typed) == "done"
    assert await laptop.settled_on(OLD, NEW) == NEW
    assert laptop.material.epoch.number == 2
    await laptop.sync()


@pytest.mark.parametrize("fate", ["reply", "request"])
async def test_another_change_in_between_settles_it_too(
    laptop: Member, https: Served, tmp_path: Path, fate
):
    phone = await Member.enrolling(https, tmp_path, "phone")
    laptop.client.lose["put_keyset"] = [fate, "request"]
    with pytest.raises(ChangeUnderWay):
        await change_passphrase(laptop.keys, OLD, NEW)
    tablet = await Member.enrolling(https, tmp_path, "tablet", NEW if fate == "reply" else OLD)
    assert await laptop.keys.settle() == ("done" if fate == "reply" else "undone")
    assert await laptop.settled_on(OLD, NEW) == (NEW if fate == "reply" else OLD)
    await phone.close()
    await tablet.close()


@pytest.mark.parametrize("typed", [OLD, NEW])
async def test_when_others_wrapped_anew_the_typed_passphrase_decides(
    laptop: Member, https: Served, tmp_path: Path, typed
):
    """The change was lost, or made; then another device made one under the same or the old passphrase."""
    phone = await Member.enrolling(https, tmp_path, "phone")
    fate = "request" if typed == OLD else "reply"
    laptop.client.lose["put_keyset"] = [fate, "request"]
    with pytest.raises(ChangeUnderWay):
        await change_passphrase(laptop.keys, OLD, NEW)
    if typed == NEW:  # the phone takes part in it
        await phone.close()
        phone = await Member.enrolling(https, tmp_path, "phone again", NEW)
    await replace_recovery_code(phone.keys, typed)
    await replace_recovery_code(phone.keys, typed)
    assert await laptop.keys.settle() == "open"
    assert await laptop.opens_with(OLD, NEW) == [OLD, NEW]
    await laptop.keys.settle(typed)
    assert await laptop.settled_on(OLD, NEW) == typed
    await phone.close()


async def test_a_passphrase_that_opens_neither_vault_settles_nothing(
    laptop: Member, https: Served, tmp_path: Path
):
    """The provider takes it, for another device has set it since: neither old nor new is known to hold."""
    phone = await Member.enrolling(https, tmp_path, "phone")
    laptop.client.lose["put_keyset"] = ["request", "request"]
    with pytest.raises(ChangeUnderWay):
        await change_passphrase(laptop.keys, OLD, NEW)
    await change_passphrase(phone.keys, OLD, THIRD)
    await replace_recovery_code(phone.keys, THIRD)
    assert await laptop.keys.settle(THIRD) == "open"
    assert await laptop.opens_with(OLD, NEW, THIRD) == [OLD, NEW]
    await laptop.keys.take_passphrase(THIRD, await open_vault(laptop.vault, OLD))
    assert await laptop.keys.settle(THIRD) == "undone"
    assert await laptop.settled_on(OLD, NEW, THIRD) == THIRD
    await phone.close()


# --- crashes at every step -------------------------------------------------------------------------------


async def test_a_crash_at_any_step_leaves_one_passphrase_that_holds(laptop: Member, monkeypatch):
    wire = Tripwire(monkeypatch)
    current, fresh = OLD, NEW
    await laptop.put("note", text="kept")
    await laptop.sync()
    crashes, kept, changed = [], 0, 0
    while True:
        wire.set(len(crashes) + 1)
        try:
            await change_passphrase(laptop.keys, current, fresh, leaked=len(crashes) % 5 == 0)
        except Crash as crash:
            crashes.append(str(crash))
        else:
            break
        opening = await laptop.opens_with(current, fresh)
        assert opening, crashes
        typed = opening[len(crashes) % len(opening)]
        await laptop.restart(typed)
        assert await laptop.keys.settle(typed) != "open"
        now = await laptop.settled_on(current, fresh)
        assert typed in opening
        kept, changed = kept + (now == current), changed + (now == fresh)
        current, fresh = now, f"passphrase number {len(crashes)}"
        assert (await laptop.content("note"))["text"] == "kept"
    assert await laptop.settled_on(current, fresh) == fresh
    assert set(crashes) == {f"{when} {name}" for name in STEPS for when in ("before", "after")}
    assert kept > 4
    assert changed > 4
    await laptop.sync()
    assert not laptop.engine.status.alarm


# --- a provider that kept copies ------------------------------------------------------------------------


async def test_old_passphrase_and_all_that_was_ever_stored_open_nothing_written_after(
    laptop: Member, https: Served, tmp_path: Path
):
    phone = await Member.enrolling(https, tmp_path, "phone")
    secret = b"what is written after"
    await laptop.put("note", text="before")
    await laptop.sync()
    kdf = await laptop.client.kdf_of(ALICE)
    replies = [await laptop.client.secrets()]
    await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
    replies.append(await laptop.client.secrets())
    await laptop.sync()
    await laptop.put("note", text=secret.decode())
    await laptop.sync()
    await phone.sync()
    replies.append(await laptop.client.secrets())
    after = replies[-1]
    number = await https.provider.accounts.number(laptop.material.account_id)
    page = await https.provider.log.pull(number, PullRequest(since=0))
    item = max(page.items, key=lambda one: one.seq)
    blob = await laptop.store.seal_blob(secret)
    mail = seal_to_inbox(
        secret, laptop.material.open_keyset().inbox_key(), laptop.material.account_id
    )

    # What eve has: the old passphrase, and everything the provider ever stored.
    keys = derive_passphrase(OLD, kdf)
    old = unwrap(replies[0].wraps.passphrase, keys.wrap_key, wrap_context(ALICE))
    for reply in replies[1:]:
        with pytest.raises(ForgedEnvelope):
            unwrap(reply.wraps.passphrase, keys.wrap_key, wrap_context(ALICE))
    code = old.recovery_code  # so she has the old code as well
    recovery = derive_recovery(code)
    context = wrap_context(ALICE, with_recovery=True)
    assert unwrap(replies[0].wraps.recovery, recovery.wrap_key, context).epochs == old.epochs
    for reply in replies[1:]:
        with pytest.raises(ForgedEnvelope):
            unwrap(reply.wraps.recovery, recovery.wrap_key, context)
        with pytest.raises(ForgedEnvelope):
            open_secrets(reply, recovery, ALICE, code)
    seeds = [recovery_sealing_seed(code), *(key.seed for key in old.inbox_keys)]
    for reply in replies:
        keyset = open_keyset(reply.keyset, root_public=old.root_public)
        for entry in keyset.epochs[1:]:
            for recipient in (RECOVERY, *entry.sealed):
                for seed in seeds:
                    with pytest.raises(BadKeyset):
                        open_epoch(entry, seed, old.account_id, recipient)
    for epochs in (  # as they are numbered, and every old key in the place of the new one
        {epoch.number: epoch for epoch in old.epochs},
        *({2: Epoch(2, epoch.key)} for epoch in old.epochs),
    ):
        opening = partial(open_envelope, account=old.account_id, epochs=epochs)
        with pytest.raises(ForgedEnvelope):  # UnknownEpoch is one
            opening(item.sealed, kind=KIND, item_id=item.item_id, version=item.version)
        with pytest.raises(ForgedEnvelope):
            opening(page.head, kind="head", item_id=bytes(32), version=0)
        with pytest.raises((BlobAltered, UnknownEpoch)):
            open_blob(blob.sealed, blob.ref, account=old.account_id, epochs=epochs)
    with pytest.raises(ForgedEnvelope):
        open_from_inbox(mail, old.inbox_keys, old.account_id)

    # And the same attempts with the new passphrase open all of it: they are the right ones.
    keys = derive_passphrase(NEW, await laptop.client.kdf_of(ALICE))
    new, _ = open_secrets(after, keys, ALICE)
    epochs = {epoch.number: epoch for epoch in new.epochs}
    assert secret in open_envelope(
        item.sealed,
        account=new.account_id,
        epochs=epochs,
        kind=KIND,
        item_id=item.item_id,
        version=item.version,
    )
    assert open_from_inbox(mail, new.inbox_keys, new.account_id) == secret
    assert open_blob(blob.sealed, blob.ref, account=new.account_id, epochs=epochs) == secret
    await phone.close()


async def test_an_honest_provider_has_the_old_wraps_no_more(tmp_path: Path, monkeypatch):
    quick_stretching(monkeypatch)
    folder = tmp_path / "provider"
    async with opened(folder) as provider, served(provider, tmp_path) as https:
        laptop = await Member.signing_up(https, tmp_path)
        before = await laptop.client.secrets()
        await change_passphrase(laptop.keys, OLD, NEW, leaked=True)
        after = await laptop.client.secrets()
        await laptop.close()

    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    data = await asyncio.to_thread(stored)
    pieces = {
        name: [wrap[start : start + 16] in data for start in range(0, len(wrap) - 16, 64)]
        for name, wrap in {
            "old passphrase": before.wraps.passphrase,
            "old recovery": before.wraps.recovery,
            "new passphrase": after.wraps.passphrase,
            "new recovery": after.wraps.recovery,
        }.items()
    }
    assert not any(pieces["old passphrase"] + pieces["old recovery"])
    assert all(pieces["new passphrase"][:10]), "the search finds what is there"
    assert any(pieces["new recovery"])
