"""A disk that fills up: what adds is refused early, what frees still works."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from leap.provider.provider import Provider
from leap.provider.storage.room import RESERVE_BYTES, Room
from leap.soledad.errors import StoreFull
from leap.soledad.wire import CommitRequest, InboxClaim, StageRequest
from tests.provider.world import DOMAIN, Clock, blob, delivery, item, prepared

ALICE = f"alice@{DOMAIN}"


def disk(total: int, free: int) -> SimpleNamespace:
    return SimpleNamespace(f_blocks=total, f_bavail=free, f_frsize=1)


def test_the_reserve_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.0)
    room = Room(tmp_path, clock=clock)
    free = RESERVE_BYTES + 1000
    monkeypatch.setattr(os, "statvfs", lambda folder: disk(1 << 40, free))
    room.need(600)
    with pytest.raises(StoreFull):
        room.need(600)  # between two looks it counts by itself
    room.need(400)
    clock.at += 1
    room.need(1000)


def test_a_small_disk_has_a_small_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda folder: disk(8_000_000, 1_000_100))
    Room(tmp_path, clock=Clock(0.0)).need(100)
    with pytest.raises(StoreFull):
        Room(tmp_path, clock=Clock(0.0)).need(101)


async def test_with_no_room_nothing_is_added_and_everything_can_be_freed(
    provider: Provider, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = blob(100)
    account_id = prepared(ALICE).secrets.account_id
    await provider.blobs.put(alice, [one])
    await provider.deliver([delivery(account_id)])
    token, _ = await provider.tokens.issue(alice, "laptop", "laptop")
    monkeypatch.setattr(os, "statvfs", lambda folder: disk(1 << 40, RESERVE_BYTES))
    monkeypatch.setattr("leap.provider.storage.room.LOOK_EVERY", 0)
    commit = CommitRequest(parent=b"", head=b"head", head_seq=1, count=1, items=[item("a")])
    for refused in (
        provider.blobs.put(alice, [blob(100)]),
        provider.deliver([delivery(account_id)]),
        provider.log.commit(alice, commit),
        provider.log.stage(alice, StageRequest(push_id="p", first=0, items=[item("a")])),
        provider.accounts.sign_up(prepared(f"bob@{DOMAIN}").signup),
    ):
        with pytest.raises(StoreFull):
            await refused
    claimed = await provider.inbox.claim(alice, InboxClaim())
    await provider.inbox.ack(alice, [claimed.items[0].inbox_id])
    await provider.blobs.delete(alice, [one.blob_id])
    principal = await provider.tokens.find(token)
    assert principal is not None
    await provider.log_out(principal.token_hash)
