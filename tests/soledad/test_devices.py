"""The devices of an account: listed, renamed, let out; and what a revoked one can still do, which is nothing new."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from yarl import URL

from leap.soledad.devices import (
    NoSuchDevice,
    find_device,
    list_devices,
    rename_device,
    revoke_device,
)
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    ChangeUnderWay,
    DeviceRevoked,
    ForgedHead,
    ForkJoined,
    Refused,
    RolledBack,
    SoledadError,
    UnknownEpoch,
)
from leap.soledad.head import OwnHeads, next_record, open_head, sign_and_seal
from leap.soledad.material import AccountMaterial, follow_keyset
from leap.soledad.renewal import Revocation, Wanted
from leap.soledad.syncing.state import load_state
from leap.soledad.wire import BlobsDelete, CommitRequest, PullRequest, encode
from tests.provider.world import Served, opened, served
from tests.soledad.members import NEW, OLD, Crash, Member, Tripwire, quick_stretching

REPLACE = msgspec.structs.replace


@pytest.fixture
async def https(tmp_path: Path, monkeypatch) -> AsyncIterator[Served]:
    quick_stretching(monkeypatch)
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


@pytest.fixture
async def three(https: Served, tmp_path: Path) -> AsyncIterator[tuple[Member, Member, Member]]:
    laptop = await Member.signing_up(https, tmp_path)
    phone = await Member.enrolling(https, tmp_path, "phone")
    tablet = await Member.enrolling(https, tmp_path, "tablet")
    for member in (laptop, phone, tablet):
        await member.put(f"of {member.name}", type="note", text=member.name)
        await member.sync()
    for member in (laptop, phone, tablet):
        await member.sync()
    yield laptop, phone, tablet
    for member in (laptop, phone, tablet):
        await member.close()


async def revoke(by: Member, out: Member, new: str | None = NEW) -> str | None:
    return await revoke_device(by.keys, out.device_id, OLD, new, by.sync)


async def test_devices_are_listed_with_who_wrote_last(three):
    laptop = three[0]
    listed = await list_devices(laptop.store)
    assert [(one.name, one.this) for one in listed] == [
        ("laptop", True),
        ("phone", False),
        ("tablet", False),
    ]
    state = await laptop.store.read(lambda c: load_state(c, laptop.device_id))
    entries = state.record.devices
    assert [one.last_wrote for one in listed] == [entries[one.device_id].time for one in listed]
    assert all(one.last_wrote and one.added and one.revoked is None for one in listed)
    fresh = await Member.enrolling(laptop.https, laptop.vault.parent.parent, "fresh")
    listed = await list_devices(fresh.store)
    assert [one.name for one in listed] == ["laptop", "phone", "tablet", "fresh"]
    assert all(one.last_wrote is None for one in listed), "nothing is known before the first sync"
    await fresh.close()


async def test_a_new_name_reaches_all_devices_and_the_later_one_wins(three):
    laptop, phone, _ = three
    await rename_device(laptop.store, phone.device_id, "  the   phone ")
    assert (await find_device(laptop.store, "the phone")).device_id == phone.device_id
    await laptop.sync()
    await phone.sync()
    assert [one.name for one in await list_devices(phone.store)] == [
        "laptop",
        "the phone",
        "tablet",
    ]
    await rename_device(laptop.store, phone.device_id, "old phone")
    await rename_device(phone.store, phone.device_id, "new phone")
    for member in (laptop, phone, laptop):
        await member.sync()
    for member in (laptop, phone):
        assert (await find_device(member.store, phone.device_id)).name == "new phone"
        assert not await member.store.get_doc_conflicts(f"device-name-{phone.device_id}")


async def test_a_new_device_is_listed_before_it_wrote_anything(
    three, https: Served, tmp_path: Path
):
    laptop = three[0]
    fresh = await Member.enrolling(https, tmp_path, "fresh")
    assert len(await list_devices(laptop.store)) == 3
    await laptop.engine.refresh_keyset()
    assert [one.name for one in await list_devices(laptop.store)][3:] == ["fresh"]
    await fresh.close()


async def test_a_keyset_of_before_shown_for_the_newest_raises_the_alarm(three):
    laptop, phone, _ = three
    old = await laptop.client.secrets()
    await revoke(laptop, phone)

    async def rolled_back():
        return old

    laptop.client.secrets = rolled_back
    with pytest.raises(BadKeyset, match="rolled back"):
        await laptop.engine.refresh_keyset()
    assert "rolled back" in laptop.engine.status.alarm
    assert laptop.material.epoch.number == 2


async def test_devices_are_found_by_name_id_or_its_beginning(three):
    laptop, phone, tablet = three
    for what in ("phone", phone.device_id, phone.device_id[:10]):
        assert (await find_device(laptop.store, what)).device_id == phone.device_id
    with pytest.raises(NoSuchDevice, match="no device"):
        await find_device(laptop.store, "fridge")
    await rename_device(laptop.store, tablet.device_id, "phone")
    with pytest.raises(NoSuchDevice, match="more than one"):
        await find_device(laptop.store, "phone")
    for bad in ("", "  ", "x" * 101, "bell\a"):
        with pytest.raises(ValueError, match="characters"):
            await rename_device(laptop.store, tablet.device_id, bad)
    with pytest.raises(NoSuchDevice):
        await rename_device(laptop.store, "0" * 32, "x")


async def test_a_document_that_names_another_device_than_its_id_says_names_none(three):
    laptop, phone, _ = three
    content = {"type": "device-name", "device": phone.device_id, "name": "eve's"}
    await laptop.put("device-name-else", **content)
    assert (await find_device(laptop.store, phone.device_id)).name == "phone"


async def test_a_revoked_device_gets_nothing_new_and_the_others_go_on(three):
    laptop, phone, tablet = three
    before: AccountMaterial = tablet.material
    code = await revoke(laptop, tablet)
    assert len(code.split()) == 24
    assert code != laptop.code
    assert (await laptop.keys.open(NEW)).secrets.recovery_code == code
    assert await laptop.settled_on(OLD, NEW) == NEW
    listed = {one.name: one.revoked for one in await list_devices(laptop.store)}
    assert [name for name, revoked in listed.items() if revoked is not None] == ["tablet"]
    keyset = laptop.material.open_keyset()
    entry = keyset.epochs[-1]
    assert set(entry.sealed) == {laptop.device_id, phone.device_id, "recovery"}
    await laptop.put("secret", text="not for the tablet")
    await laptop.sync()
    await phone.sync()  # learns of it by the head
    assert (await phone.content("secret"))["text"] == "not for the tablet"
    assert phone.material.epoch == laptop.material.epoch
    assert phone.material.inbox_keys == laptop.material.inbox_keys
    await phone.put("answer", text="heard")
    await phone.sync()
    await laptop.sync()
    assert (await laptop.content("answer"))["text"] == "heard"
    # Its log-in has ended, and it cannot get another: not even by the new passphrase.
    with pytest.raises(AuthFailed):
        await tablet.sync()
    with pytest.raises(AuthFailed):
        await tablet.keys.take_passphrase(OLD, b"k" * 32)
    with pytest.raises(Refused) as refused:
        await tablet.keys.take_passphrase(NEW, b"k" * 32)
    assert refused.value.error == "device-revoked"
    assert await tablet.content("of phone"), "what was on it is on it"
    # Even shown everything by the provider, it opens nothing of what came after.
    assert tablet.material.epochs == before.epochs
    with pytest.raises(DeviceRevoked, match="removed"):
        follow_keyset(before, laptop.material.keyset)
    page = await laptop.client.pull(PullRequest(since=0))
    with pytest.raises(UnknownEpoch):
        open_head(page.head, keyset, before.epochs_by_number, before.account_id)


async def test_without_a_new_passphrase_the_recovery_code_stays_too(three):
    laptop, phone, tablet = three
    assert await revoke(laptop, tablet, None) is None
    assert await laptop.settled_on(OLD, NEW) == OLD
    assert (await laptop.keys.open(OLD)).secrets.recovery_code == laptop.code
    assert laptop.material.epoch.number == 2
    await phone.sync()
    assert phone.material.epoch.number == 2


async def test_what_cannot_be_revoked_is_named(three):
    laptop, _, tablet = three
    with pytest.raises(NoSuchDevice, match="itself"):
        await revoke(laptop, laptop)
    with pytest.raises(NoSuchDevice, match="no device"):
        await revoke_device(laptop.keys, "0" * 32, OLD, NEW, laptop.sync)
    await revoke(laptop, tablet)
    with pytest.raises(NoSuchDevice, match="before"):
        await revoke_device(laptop.keys, tablet.device_id, NEW, None, laptop.sync)


# --- the revoked device's heads --------------------------------------------------------------------------


async def test_its_last_head_before_stays_valid_for_a_device_that_was_away(three):
    laptop, phone, tablet = three
    await tablet.put("last", text="words")
    await tablet.sync()
    # The newest head is the tablet's. Nothing is pushed after the revocation: the phone sees just that.
    counter = (await tablet.store.read(lambda c: load_state(c, tablet.device_id))).attempt
    engine, laptop.keys._engine = laptop.keys._engine, Quiet(laptop)

    async def pull() -> None:
        await laptop.engine._puller.pull()

    await revoke_device(laptop.keys, tablet.device_id, OLD, NEW, pull)
    laptop.keys._engine = engine
    revoked = laptop.material.open_keyset().device(tablet.device_id)
    assert revoked.revoked_counter == counter
    await phone.engine._puller.adopt_keyset(laptop.material.keyset)
    await phone.sync()
    assert (await phone.content("last"))["text"] == "words"
    assert not phone.engine.status.alarm
    fresh = await Member.enrolling(laptop.https, laptop.vault.parent.parent, "fresh", NEW)
    await fresh.sync()
    assert (await fresh.content("last"))["text"] == "words"
    await fresh.close()


class Quiet:
    """Learns the keyset without telling anybody."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def adopt_keyset(self, signed: bytes) -> None:
        await self._member.engine._puller.adopt_keyset(signed)


async def late_head(tablet: Member, **change) -> tuple[bytes, int]:
    """A head the tablet signs after its revocation, and its seq; as good as it can make one."""
    material = tablet.material
    state = await tablet.store.read(lambda c: load_state(c, tablet.device_id))
    own = OwnHeads(tablet.device_id, state.committed, tuple(state.attempts), state.attempt)
    record = next_record(
        state.head, own, material.open_keyset(), items=0, digest=state.digest, time=1_800_000_000
    )
    head = sign_and_seal(record, material.device.signing_key, material.epoch, material.account_id)
    return head, record.seq


async def test_a_head_it_signs_afterwards_is_forged_for_everybody(three):
    laptop, phone, tablet = three
    head, seq = await late_head(tablet)
    await revoke(laptop, tablet)
    for member in (laptop, phone):
        await member.sync()
        material = member.material
        with pytest.raises(ForgedHead, match="revoked"):
            open_head(
                head,
                material.open_keyset(),
                material.epochs_by_number,
                material.account_id,
                seq=seq,
            )


async def test_a_commit_that_comes_between_makes_the_revocation_begin_again(three, https: Served):
    """Else the counter in the keyset would leave out a head that others have accepted."""
    laptop, phone, tablet = three
    put, times = laptop.client.put_keyset, []

    async def late(change):
        times.append(change.head)
        if len(times) == 1:
            await tablet.put("last", text="in time")
            await tablet.sync()
        await put(change)

    laptop.client.put_keyset = late
    await revoke(laptop, tablet)
    assert len(set(times)) == 2
    assert (await laptop.content("last"))["text"] == "in time"
    for member in (laptop, phone):
        await member.sync()
    assert (await phone.content("last"))["text"] == "in time"


@pytest.mark.parametrize("fate", ["reply", "request"])
async def test_a_revocation_whose_reply_was_lost_is_settled(three, fate):
    laptop, phone, tablet = three
    laptop.client.lose["put_keyset"] = [fate, "request"]
    with pytest.raises(ChangeUnderWay):
        await revoke(laptop, tablet)
    assert await laptop.keys.settle() == "done"
    assert await laptop.settled_on(OLD, NEW) == NEW
    with pytest.raises(AuthFailed):
        await tablet.sync()
    await laptop.sync()
    await phone.sync()
    assert phone.material.epoch.number == 2


async def test_a_lost_revocation_that_was_overtaken_is_undone(three):
    laptop, _, tablet = three
    laptop.client.lose["put_keyset"] = ["request", "request"]
    with pytest.raises(ChangeUnderWay):
        await revoke(laptop, tablet)
    await tablet.put("more", text="text")
    await tablet.sync()
    assert await laptop.keys.settle() == "undone"
    assert await laptop.settled_on(OLD, NEW) == OLD
    assert await revoke(laptop, tablet)


async def test_a_crash_before_others_are_told_is_made_up_for(three):
    laptop, phone, tablet = three
    opened_ = await laptop.keys.open(OLD)
    await laptop.sync()
    head = (await laptop.store.read(lambda c: load_state(c, laptop.device_id))).head
    revocation = Revocation(tablet.device_id, head.mark_of(tablet.device_id).counter, head.hash)
    await laptop.keys.change(
        opened_, Wanted(opened_.keys, epoch=True, recovery=True, revoke=revocation), NEW
    )
    await laptop.restart(NEW)
    await laptop.sync()  # nothing was changed here, yet a head is pushed
    page = await phone.client.pull(PullRequest(since=0))
    with pytest.raises(UnknownEpoch):
        open_head(page.head, phone.material.open_keyset(), phone.material.epochs_by_number, "x")
    await phone.sync()
    assert phone.material.epoch.number == 2
    assert not any(
        one.revoked is None for one in await list_devices(phone.store) if one.name == "tablet"
    )


async def test_a_provider_that_lets_the_revoked_device_commit_is_found_out(three, https: Served):
    laptop, phone, tablet = three
    await revoke(laptop, tablet)
    await phone.sync()
    head, _ = await late_head(tablet)
    state = await laptop.store.read(lambda c: load_state(c, laptop.device_id))
    number = await https.provider.accounts.number(laptop.material.account_id)
    await https.provider.log.commit(
        number,
        CommitRequest(parent=state.hash, head=head, head_seq=state.seq, count=0),
    )
    for member in (laptop, phone):
        with pytest.raises(SoledadError) as caught:
            await member.sync()
        assert isinstance(caught.value, ForgedHead)
        assert member.engine.status.alarm
        assert await member.content("of tablet")


async def test_a_device_kept_in_the_dark_about_a_revocation_finds_it_out_when_the_two_are_joined(
    three, https: Served
):
    laptop, phone, tablet = three
    number = await https.provider.accounts.number(laptop.material.account_id)
    before = await https.provider.log.pull(number, PullRequest(since=0))
    await revoke(laptop, tablet)
    after = await https.provider.log.pull(number, PullRequest(since=0))
    pull_pages = phone.client.pull_pages

    async def in_the_dark(request):
        yield REPLACE(before, head=dark, items=[])

    # The provider lets the tablet write on top of the old head, and shows that to the phone alone.
    dark, _ = await late_head(tablet)
    phone.client.pull_pages = in_the_dark
    await phone.engine._puller.pull()
    assert (await phone.engine._puller.state()).hash == hashlib.sha256(dark).digest()
    assert not phone.engine.status.alarm, "this is a fork, which nobody can see from one side"
    phone.client.pull_pages = pull_pages
    assert after.head != before.head
    with pytest.raises((ForkJoined, RolledBack)):
        await phone.sync()


async def test_a_crash_at_any_step_leaves_the_device_in_or_out(
    https: Served, tmp_path: Path, monkeypatch
):
    """With a passphrase that holds, whichever it is; and the others go on."""
    laptop = await Member.signing_up(https, tmp_path)
    steps = ("AccountKeys._save", "Line.put_keyset", "SyncEngine.adopt_keyset")
    wire = Tripwire(monkeypatch, steps)
    current, count, outs = OLD, 0, []
    while True:
        tablet = await Member.enrolling(https, tmp_path, f"tablet {count}", current)
        await tablet.sync()
        count, fresh = count + 1, f"passphrase number {count}"
        wire.set(count)
        try:
            await revoke_device(laptop.keys, tablet.device_id, current, fresh, laptop.sync)
        except Crash:
            opening = await laptop.opens_with(current, fresh)
            await laptop.restart(opening[count % len(opening)])
            assert await laptop.keys.settle(opening[0]) != "open"
            now = await laptop.settled_on(current, fresh)
            await laptop.sync()
            await laptop.engine.refresh_keyset()
            (device,) = [
                one for one in await list_devices(laptop.store) if one.device_id == tablet.device_id
            ]
            outs.append(device.revoked is not None)
            assert outs[-1] == (now == fresh)
            if outs[-1]:
                with pytest.raises(AuthFailed):
                    await tablet.sync()
            else:
                await tablet.sync()
            current = now
            await tablet.close()
        else:
            await tablet.close()
            break
    # Before the note nothing was begun; from then on it is finished, also when nothing was sent yet.
    assert outs == [False, *[True] * 7]
    assert not laptop.engine.status.alarm
    await laptop.close()


async def test_a_commit_on_its_way_while_its_device_is_revoked_does_not_take_place(
    three, https: Served, monkeypatch: pytest.MonkeyPatch
):
    """The log-in was good when the request came; if the head moved then, all other devices would stop at it."""
    laptop, phone, tablet = three
    log, arrived, go_on = https.provider.log, asyncio.Event(), asyncio.Event()
    commit = log.commit

    async def late(*arguments, **options):
        log.commit = commit
        arrived.set()
        await go_on.wait()
        return await commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", late)
    await tablet.put("on its way", v=1)
    pushing = asyncio.ensure_future(tablet.sync())
    await arrived.wait()
    await revoke_device(phone.keys, tablet.device_id, OLD, None, _nothing)
    go_on.set()
    with pytest.raises(SoledadError):
        await pushing
    for member in (laptop, phone):
        await member.sync()
        assert not member.engine.status.alarm
        assert await member.content("on its way") is None


async def _nothing() -> None:
    """Instead of a sync: it would be what waits."""


async def test_what_a_device_asked_before_it_was_revoked_is_not_done_after(three, https: Served):
    """A body may come as slowly as it likes: the log-in is looked at again when all of it is there."""
    laptop, _, tablet = three
    url = URL(https.url)
    body = encode(BlobsDelete(blob_ids=["0" * 32]))
    context = ssl.create_default_context(cafile=str(https.ca_file))
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    head = (
        "POST /1/blobs/delete HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {tablet.material.token}\r\nContent-Type: application/msgpack\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body[:5])
    await writer.drain()
    await laptop.client.info()  # a round trip later the head is read
    await revoke(laptop, tablet, None)
    writer.write(body[5:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
