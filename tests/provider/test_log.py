"""The log: compare-and-swap, staging, paging, and what two devices see of each other."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from leap.provider.errors import BadRequest, HeadMoved, StageDiffers, TooLarge
from leap.provider.provider import Provider
from leap.provider.sync import log as sync_log
from leap.soledad.errors import StoreFull
from leap.soledad.wire import CommitRequest, Item, PullRequest, StageRequest
from tests.provider.world import Clock, item


def commit(parent: bytes, head: bytes, seq: int, *items: Any, **more: Any) -> CommitRequest:
    more.setdefault("count", len(items))
    hashed = hashlib.sha256(parent).digest() if parent else b""
    return CommitRequest(parent=hashed, head=head, head_seq=seq, items=list(items), **more)


async def texts(provider: Provider, account: int, since: int = 0) -> list[tuple[int, bytes]]:
    page = await provider.log.pull(account, PullRequest(since=since))
    return [(one.seq, one.sealed) for one in page.items]


async def test_an_empty_log_has_no_head(provider: Provider, alice: int) -> None:
    page = await provider.log.pull(alice, PullRequest(since=0))
    assert (page.items, page.head, page.head_seq, page.more) == ([], b"", 0, False)


async def test_items_get_the_seqs_after_their_parents(provider: Provider, alice: int) -> None:
    await provider.log.commit(alice, commit(b"", b"head 1", 2, item("a"), item("b")))
    await provider.log.commit(alice, commit(b"head 1", b"head 2", 3, item("c")))
    assert await texts(provider, alice) == [(1, b"a 1"), (2, b"b 1"), (3, b"c 1")]
    assert await texts(provider, alice, since=2) == [(3, b"c 1")]


async def test_only_the_newest_version_of_an_item_stays(provider: Provider, alice: int) -> None:
    await provider.log.commit(alice, commit(b"", b"head 1", 2, item("a"), item("b")))
    await provider.log.commit(alice, commit(b"head 1", b"head 2", 3, item("a", 2)))
    assert await texts(provider, alice) == [(2, b"b 1"), (3, b"a 2")]


async def test_a_commit_on_an_old_head_is_refused_and_changes_nothing(
    provider: Provider, alice: int
) -> None:
    await provider.log.commit(alice, commit(b"", b"head 1", 1, item("a")))
    with pytest.raises(HeadMoved):
        await provider.log.commit(alice, commit(b"", b"other", 1, item("a", 7)))
    assert await texts(provider, alice) == [(1, b"a 1")]


async def test_of_two_devices_that_commit_at_once_one_wins(provider: Provider, alice: int) -> None:
    results = await asyncio.gather(
        *(
            provider.log.commit(alice, commit(b"", b"head %d" % n, 1, item("a", n)))
            for n in range(8)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, HeadMoved) for result in results) == 7
    assert len(await texts(provider, alice)) == 1


async def test_a_commit_whose_reply_was_lost_succeeds_again(provider: Provider, alice: int) -> None:
    request = commit(b"", b"head 1", 1, item("a"))
    first = await provider.log.commit(alice, request)
    assert await provider.log.commit(alice, request) == first
    assert await texts(provider, alice) == [(1, b"a 1")]


async def test_a_head_alone_may_move(provider: Provider, alice: int) -> None:
    await provider.log.commit(alice, commit(b"", b"head 1", 1, item("a")))
    reply = await provider.log.commit(alice, commit(b"head 1", b"head 2", 1))
    page = await provider.log.pull(alice, PullRequest(since=0))
    assert (reply.head_seq, page.head, page.head_seq) == (1, b"head 2", 1)


async def test_a_wrong_seq_is_refused(provider: Provider, alice: int) -> None:
    with pytest.raises(BadRequest):
        await provider.log.commit(alice, commit(b"", b"head", 5, item("a")))


async def test_staged_items_come_before_those_of_the_commit(provider: Provider, alice: int) -> None:
    for first, text in ((0, "a"), (1, "b")):
        stage = StageRequest(push_id="push", first=first, items=[item(text)])
        assert (await provider.log.stage(alice, stage)).staged == first + 1
    assert await texts(provider, alice) == []
    await provider.log.commit(alice, commit(b"", b"head", 3, item("c"), count=3, push_id="push"))
    assert await texts(provider, alice) == [(1, b"a 1"), (2, b"b 1"), (3, b"c 1")]


async def test_staging_may_be_repeated_and_resumed(provider: Provider, alice: int) -> None:
    later = StageRequest(push_id="push", first=2, items=[item("c")])
    assert (await provider.log.stage(alice, later)).staged == 0
    early = StageRequest(push_id="push", first=0, items=[item("a"), item("b")])
    assert (await provider.log.stage(alice, early)).staged == 3
    assert (await provider.log.stage(alice, early)).staged == 3
    assert (
        await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[]))
    ).staged == 3


async def test_what_is_staged_is_counted_once_for_many_small_requests(
    provider: Provider, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting is as long as all that is staged; the writer is everybody's."""
    counted: list[int] = []
    count = sync_log._staged_too_much

    def counting(*arguments: Any) -> bool:
        counted.append(1)
        return count(*arguments)

    monkeypatch.setattr(sync_log, "_staged_too_much", counting)
    requests = [StageRequest(push_id="push", first=n, items=[item(str(n))]) for n in range(200)]
    assert (await provider.log.stage(alice, *requests)).staged == 200
    assert len(counted) == 1


async def test_other_bytes_at_a_staged_index_are_refused(provider: Provider, alice: int) -> None:
    await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[item("a")]))
    with pytest.raises(StageDiffers):
        await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[item("b")]))


async def test_a_commit_needs_all_its_staged_items(provider: Provider, alice: int) -> None:
    await provider.log.stage(alice, StageRequest(push_id="push", first=1, items=[item("b")]))
    for count in (1, 2):
        with pytest.raises(StageDiffers):
            await provider.log.commit(
                alice, commit(b"", b"head", count, count=count, push_id="push")
            )
    await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[item("a")]))
    await provider.log.commit(alice, commit(b"", b"head", 2, count=2, push_id="push"))


async def test_staged_items_expire_after_a_day(
    provider: Provider, alice: int, clock: Clock
) -> None:
    await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[item("a")]))
    assert await provider.log.expire_staged() == 0
    clock.at += sync_log.STAGED_LIFETIME + 1
    assert await provider.log.expire_staged() == 1


async def test_abandoned_pushes_do_not_shut_an_account_out(
    provider: Provider, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_log, "MAX_STAGED_BYTES", 10_000)
    for n in range(20):
        request = StageRequest(push_id=f"push {n}", first=3, items=[item("a", size=2_000)])
        await provider.log.stage(alice, request)
    (size,) = await provider.db.read(
        lambda connection: connection.execute("SELECT sum(length(sealed)) FROM staged").fetchone()
    )
    assert size <= 12_000


async def test_items_without_content_are_counted_too(
    provider: Provider, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_log, "MAX_STAGED_ITEMS", 10)
    empty = [Item(item_id=bytes([n]) * 32, version=1, sealed=b"") for n in range(5)]
    for n in range(20):
        await provider.log.stage(alice, StageRequest(push_id=f"push {n}", first=0, items=empty))
    (count,) = await provider.db.read(
        lambda connection: connection.execute("SELECT count(*) FROM staged").fetchone()
    )
    assert count <= 15


async def test_pages_end_at_the_limits_and_say_so(provider: Provider, alice: int) -> None:
    items = [item(f"{n}", size=100) for n in range(10)]
    await provider.log.commit(alice, commit(b"", b"head", 10, *items))
    pages = []
    since = 0
    while True:
        request = PullRequest(since=since, max_items=4, max_bytes=350)
        page = await provider.log.pull(alice, request)
        pages.append(len(page.items))
        since = page.items[-1].seq
        if not page.more:
            break
    assert pages == [3, 3, 3, 1]
    one = await provider.log.pull(alice, PullRequest(since=0, max_items=0, max_bytes=0))
    assert (len(one.items), one.more) == (1, True)


async def test_too_much_is_refused(provider: Provider, alice: int) -> None:
    many = [item(f"{n}") for n in range(2_001)]
    with pytest.raises(TooLarge):
        await provider.log.commit(alice, commit(b"", b"head", 2_001, *many))
    with pytest.raises(TooLarge):
        await provider.log.commit(alice, commit(b"", b"x" * 300_000, 0))
    with pytest.raises(TooLarge):
        await provider.log.commit(alice, commit(b"", b"", 0))
    far = StageRequest(push_id="push", first=10**9, items=[item("a")])
    with pytest.raises(TooLarge):
        await provider.log.stage(alice, far)


async def test_accounts_do_not_see_each_others_logs(
    provider: Provider, alice: int, bob: int
) -> None:
    await provider.log.stage(alice, StageRequest(push_id="push", first=0, items=[item("a")]))
    with pytest.raises(StageDiffers):
        await provider.log.commit(bob, commit(b"", b"head", 1, count=1, push_id="push"))
    await provider.log.commit(alice, commit(b"", b"head", 1, count=1, push_id="push"))
    assert await texts(provider, bob) == []


async def test_a_full_disk_refuses_the_commit_and_keeps_the_log(
    provider: Provider, alice: int
) -> None:
    await provider.log.commit(alice, commit(b"", b"head 1", 1, item("a")))
    await provider.db.write(
        lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall()
    )
    big = [item(f"big {n}", size=20_000) for n in range(50)]
    with pytest.raises(StoreFull):
        await provider.log.commit(alice, commit(b"head 1", b"head 2", 51, *big))
    assert await texts(provider, alice) == [(1, b"a 1")]
