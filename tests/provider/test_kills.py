"""A provider killed with SIGKILL at random moments keeps everything it acknowledged, once.

Three writers work without pause: one commits to the log (some items staged before), one stores blobs
small and large, one delivers mail at the MX. What was acknowledged is written down; after each kill
the provider is started again on its folder and asked for all of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leap.soledad.enrol import Enrolled, sign_up
from leap.soledad.errors import SoledadError
from leap.soledad.inbox_seal import open_from_inbox
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.wire import Blob, CommitRequest, InboxClaim, PullRequest, StageRequest
from tests.provider.process import Child, start
from tests.provider.world import DOMAIN, PASSPHRASE, blob, item

pytestmark = pytest.mark.scenario

KILLS = 8
ALICE = f"alice@{DOMAIN}"


@dataclass
class Acknowledged:
    """What the provider said it has, and how many requests were under way."""

    heads: list[tuple[int, bytes]] = field(default_factory=lambda: [(0, b"")])
    last_commit: CommitRequest | None = None
    items: dict[bytes, int] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    mails: list[str] = field(default_factory=list)
    maybe_mails: set[str] = field(default_factory=set)
    under_way: int = 0


async def commit_without_pause(client: ProviderClient, done: Acknowledged) -> None:
    while True:
        seq, head = done.heads[-1]
        new = os.urandom(64)
        items = [item(f"{random.randrange(50)}", version=seq + n) for n in (1, 2)]
        staged = [item(f"staged {random.randrange(50)}", version=seq, size=5000)]
        push_id = os.urandom(8).hex()
        request = CommitRequest(
            parent=hashlib.sha256(head).digest() if head else b"",
            head=new,
            head_seq=seq + 3,
            count=3,
            items=items,
            push_id=push_id,
        )
        done.last_commit = request
        done.under_way += 1
        await client.stage(StageRequest(push_id=push_id, first=0, items=staged))
        await client.commit(request)
        done.under_way -= 1
        done.heads.append((seq + 3, new))
        for one in (*staged, *items):
            done.items[one.item_id] = one.version


async def store_without_pause(client: ProviderClient, done: Acknowledged) -> None:
    while True:
        blobs = [blob(random.choice((0, 3_000, 70_000))) for _ in range(4)]
        done.under_way += 1
        await client.put_blobs(blobs)
        done.under_way -= 1
        done.blobs.update((one.blob_id, one.sealed) for one in blobs)


async def deliver_without_pause(address: tuple[str, int], done: Acknowledged) -> None:
    """Speaks SMTP as another server does; a mail counts when its 250 came."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        await reader.readline()
        writer.write(b"HELO outside.test\r\n")
        await reader.readline()
        while True:
            marker = os.urandom(8).hex()
            size = random.choice((10, 3_000, 300_000))
            done.maybe_mails.add(marker)
            done.under_way += 1
            for line in (
                b"MAIL FROM:<eve@outside.test>\r\n",
                f"RCPT TO:<{ALICE}>\r\n".encode(),
                b"DATA\r\n",
                b"Subject: "
                + marker.encode()
                + b"\r\n\r\n"
                + b"x" * 70
                + (b"\r\n" + b"y" * 70) * (size // 72)
                + b"\r\n.\r\n",
            ):
                writer.write(line)
                reply = await reader.readline()
                if not reply:
                    raise ConnectionResetError
                assert reply[:1] in b"23", reply
            done.under_way -= 1
            done.mails.append(marker)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def work_until_killed(child: Child, client: ProviderClient, done: Acknowledged) -> bool:
    """Lets all three work, kills the provider; whether something was under way then."""
    workers = [
        asyncio.create_task(commit_without_pause(client, done)),
        asyncio.create_task(store_without_pause(client, done)),
        asyncio.create_task(deliver_without_pause(tuple(child.ready["mx"]), done)),
    ]
    before = len(done.heads) + len(done.blobs) + len(done.mails)
    deadline = asyncio.get_running_loop().time() + random.uniform(0.05, 0.4)
    while (  # at least one thing of each life is acknowledged, then a random moment
        asyncio.get_running_loop().time() < deadline
        or len(done.heads) + len(done.blobs) + len(done.mails) == before
    ):
        finished, _ = await asyncio.wait(
            workers, timeout=0.005, return_when=asyncio.FIRST_COMPLETED
        )
        for worker in finished:
            worker.result()
    under_way = done.under_way
    assert await child.end(signal.SIGKILL) == -signal.SIGKILL
    results = await asyncio.wait_for(asyncio.gather(*workers, return_exceptions=True), 20)
    for result in results:
        if not isinstance(result, SoledadError | OSError):
            raise AssertionError("a worker ended otherwise than by the kill") from result
    done.under_way = 0
    return under_way > 0


async def check_log(client: ProviderClient, done: Acknowledged) -> None:
    page = await client.pull(PullRequest(since=0))
    seq, head = done.heads[-1]
    if (page.head_seq, page.head) != (seq, head):
        # Only the commit that was under way may have come in addition; repeating it succeeds.
        last = done.last_commit
        assert last is not None
        assert (page.head_seq, page.head) == (last.head_seq, last.head)
        assert page.head_seq == seq + 3
        assert (await client.commit(last)).head_seq == page.head_seq
        done.heads.append((page.head_seq, page.head))
    assert not page.more
    there = {one.item_id: one.version for one in page.items}
    for item_id, version in done.items.items():
        assert there[item_id] >= version
    assert len({one.seq for one in page.items}) == len(page.items)
    done.items = there


async def check_blobs(client: ProviderClient, done: Acknowledged) -> None:
    wanted = list(done.blobs)
    for first in range(0, len(wanted), 100):
        asked = wanted[first : first + 100]
        while asked:
            found = await client.get_blobs(asked)
            assert found.missing == []
            for one in found.blobs:
                assert done.blobs[one.blob_id] == one.sealed
            asked = asked[len(found.blobs) :]


async def check_inbox(client: ProviderClient, made: Enrolled, done: Acknowledged) -> None:
    material = made.material
    arrived: list[str] = []
    while items := (await client.claim_inbox(InboxClaim(ttl=3600))).items:
        for one in items:
            raw = open_from_inbox(one.sealed, material.inbox_keys, material.account_id)
            subject = next(line for line in raw.split(b"\r\n") if line.startswith(b"Subject: "))
            arrived.append(subject[9:].decode())
        await client.ack_inbox([one.inbox_id for one in items])
    assert len(set(arrived)) == len(arrived)
    assert set(done.mails) <= set(arrived)
    assert set(arrived) <= done.maybe_mails


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = Acknowledged()
    hits = 0
    child = await start(data)
    try:
        ca_file = Path(child.ready["ca"])
        async with ProviderClient(child.ready["api"], ca_file=ca_file) as client:
            made = await sign_up(client, ALICE, PASSPHRASE, "laptop", kdf=floor_kdf_params)
            for _ in range(KILLS):
                hits += await work_until_killed(child, client, done)
                api = child.ready["api"]
                child = await start(data)
                assert child.ready["api"] == api
                await check_log(client, done)
                await check_blobs(client, done)
            await check_inbox(client, made, done)
            extra = [Blob(blob_id=blob_id, sealed=b"?") for blob_id in list(done.blobs)[:1]]
            with pytest.raises(SoledadError):
                await client.put_blobs(extra)
    finally:
        await child.end(signal.SIGKILL)
    print(
        f"{hits} of {KILLS} kills fell into requests; acknowledged: {len(done.heads)} commits,"
        f" {len(done.blobs)} blobs, {len(done.mails)} mails"
    )
    assert hits * 2 >= KILLS
    assert min(len(done.heads), len(done.blobs), len(done.mails)) > KILLS
