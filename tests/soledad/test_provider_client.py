"""The HTTPS client against a real provider: each method once, and each refusal."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pysequoia
import pytest

from leap.provider.provider import Provider
from leap.soledad.errors import AuthFailed, HeadMoved, KeysetMoved, Refused, SoledadError
from leap.soledad.remote import Event, ProviderClient
from leap.soledad.secrets import derive_passphrase, derive_recovery
from leap.soledad.wire import (
    MAX_BATCH_BYTES,
    CommitRequest,
    InboxClaim,
    KeysetPut,
    PullRequest,
    StageRequest,
)
from tests.provider.world import (
    DOMAIN,
    PASSPHRASE,
    Served,
    blob,
    delivery,
    item,
    opened,
    prepared,
    served,
)

ALICE = f"alice@{DOMAIN}"


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[Provider]:
    async with opened(tmp_path / "provider") as provider:
        yield provider


@pytest.fixture
async def https(provider: Provider, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(provider, tmp_path) as running:
        yield running


@pytest.fixture
async def stranger(https: Served):
    """A client that is not logged in."""
    async with ProviderClient(https.url, ca_file=https.ca_file) as client:
        yield client


@pytest.fixture
async def client(https: Served):
    """Alice's laptop, logged in."""
    token = await https.device("alice")
    async with ProviderClient(https.url, ca_file=https.ca_file, token=token) as client:
        yield client


def commit(parent: bytes, head: bytes, seq: int, *items) -> CommitRequest:
    return CommitRequest(
        parent=parent, head=head, head_seq=seq, count=len(items), items=list(items)
    )


async def test_a_provider_describes_itself_to_anyone(stranger):
    info = await stranger.info()
    assert info.domain == DOMAIN
    assert info.signup_open


async def test_sign_up_and_log_in_by_passphrase(stranger):
    made = prepared(ALICE)
    await stranger.signup(made.signup)
    params = await stranger.kdf_of("Alice@Example.test")
    keys = await asyncio.to_thread(derive_passphrase, PASSPHRASE, params)
    token = await stranger.log_in(ALICE, keys.auth_key, "d" * 32, "laptop")
    assert stranger.token == token
    reply = await stranger.secrets()
    assert reply.keyset == made.signup.keyset
    assert reply.wraps == made.signup.wraps


async def test_the_recovery_code_has_a_log_in_of_its_own(stranger):
    made = prepared(ALICE)
    await stranger.signup(made.signup)
    keys = derive_recovery(made.recovery_code)
    await stranger.log_in(ALICE, keys.auth_key, "d" * 32, "laptop", with_recovery=True)
    assert (await stranger.secrets()).keyset
    with pytest.raises(AuthFailed):
        await stranger.log_in(ALICE, keys.auth_key, "d" * 32, "laptop")


async def test_an_address_is_taken_once(stranger):
    await stranger.signup(prepared(ALICE).signup)
    with pytest.raises(Refused) as caught:
        await stranger.signup(prepared(ALICE, "another passphrase").signup)
    assert (caught.value.error, caught.value.status) == ("address-taken", 409)


async def test_a_wrong_passphrase_and_an_unknown_address_are_refused_alike(stranger):
    await stranger.signup(prepared(ALICE).signup)
    refusals = []
    for address in (ALICE, f"nobody@{DOMAIN}"):
        with pytest.raises(AuthFailed) as caught:
            await stranger.log_in(address, b"w" * 32, "d" * 32, "laptop")
        refusals.append((caught.value.error, caught.value.status, str(caught.value)))
        assert stranger.token is None
    assert refusals[0] == refusals[1]


async def test_without_a_token_nothing_is_given(stranger):
    for call in (
        stranger.secrets(),
        stranger.pull(PullRequest(since=0)),
        stranger.delete_blobs(["0" * 32]),
    ):
        with pytest.raises(AuthFailed):
            await call


async def test_logging_out_ends_the_token_on_the_provider(client, https):
    token = client.token
    await client.log_out()
    assert client.token is None
    client.token = token
    with pytest.raises(AuthFailed):
        await client.secrets()


async def test_logging_out_twice_or_never_in_is_no_error(stranger):
    await stranger.log_out()


async def test_a_keyset_is_swapped_only_by_who_knows_the_newest(client, https: Served):
    made = prepared(ALICE)
    with pytest.raises(KeysetMoved) as caught:
        await client.put_keyset(KeysetPut(expected_version=7, keyset=made.signup.keyset))
    assert caught.value.status == 409


async def test_items_travel(client):
    first, second = item("one"), item("two")
    reply = await client.commit(commit(b"", b"head 1", 2, first, second))
    assert reply.head_seq == 2
    page = await client.pull(PullRequest(since=0))
    assert [(got.seq, got.item_id, got.sealed) for got in page.items] == [
        (1, first.item_id, first.sealed),
        (2, second.item_id, second.sealed),
    ]
    assert (page.head, page.head_seq, page.more) == (b"head 1", 2, False)


async def test_a_head_is_swapped_only_by_who_knows_the_newest(client):
    await client.commit(commit(b"", b"head 1", 1, item("one")))
    with pytest.raises(HeadMoved):
        await client.commit(commit(b"", b"head 2", 1, item("two")))
    await client.commit(commit(b"", b"head 1", 1, item("one")))  # a lost reply, asked again
    parent = hashlib.sha256(b"head 1").digest()
    await client.commit(commit(parent, b"head 2", 2, item("two")))


async def test_staged_items_are_committed(client):
    items = [item(f"item {number}") for number in range(5)]
    staged = await client.stage(StageRequest(push_id="p" * 32, first=0, items=items))
    assert staged.staged == 5
    await client.commit(
        CommitRequest(parent=b"", head=b"head", head_seq=5, count=5, push_id="p" * 32)
    )
    assert len((await client.pull(PullRequest(since=0))).items) == 5


async def test_blobs_travel_in_batches_and_alone(client):
    blobs = [blob(10_000) for _ in range(5)] + [blob(MAX_BATCH_BYTES + 1)]
    await client.put_blobs(blobs)
    await client.put_blobs(blobs[:1])  # again: nothing changes
    small = await client.get_blobs([made.blob_id for made in blobs[:5]] + ["0" * 32])
    assert small.blobs == blobs[:5]
    assert small.missing == ["0" * 32]
    assert await client.get_blob(blobs[5].blob_id) == blobs[5].sealed
    with pytest.raises(Refused, match="by itself"):
        await client.get_blobs([blobs[5].blob_id])


async def test_many_blobs_go_in_as_many_requests_as_it_takes(client):
    blobs = [blob(60_000) for _ in range(200)] + [blob(10) for _ in range(600)]
    await client.put_blobs(blobs)
    found = await client.get_blobs([made.blob_id for made in blobs[:400]])
    assert found.more
    assert found.blobs == blobs[: len(found.blobs)]
    await client.delete_blobs([made.blob_id for made in blobs])
    assert len((await client.get_blobs([made.blob_id for made in blobs[:400]])).missing) == 400


async def test_a_range_of_a_blob_can_be_read(client):
    made = blob(200_000)
    await client.put_blobs([made])
    for start, length in ((0, 10), (100_000, 65_536), (199_990, 10), (199_990, 100)):
        got = await client.get_blob_range(made.blob_id, start, length)
        assert got == made.sealed[start : start + length]
    assert await client.get_blob_range(made.blob_id, 200_000, 10) == b""
    with pytest.raises(Refused) as caught:
        await client.get_blob_range("0" * 32, 0, 10)
    assert caught.value.status == 404


async def test_a_blob_is_never_overwritten(client):
    made = blob(100)
    await client.put_blobs([made])
    other = type(made)(blob_id=made.blob_id, sealed=os.urandom(100))
    with pytest.raises(Refused) as caught:
        await client.put_blobs([other])
    assert caught.value.error == "blob-differs"


async def test_no_blobs_need_no_request(client):
    await client.put_blobs([])
    await client.delete_blobs([])
    assert (await client.get_blobs([])).blobs == []


async def test_mail_waits_until_it_is_acknowledged(client, provider: Provider):
    number = prepared(ALICE).secrets.account_id
    await provider.deliver([delivery(number, b"sealed mail")])
    claimed = await client.claim_inbox(InboxClaim())
    assert [mail.sealed for mail in claimed.items] == [b"sealed mail"]
    assert (await client.claim_inbox(InboxClaim())).items == claimed.items  # leased to this device
    await client.release_inbox([claimed.items[0].inbox_id])
    again = await client.claim_inbox(InboxClaim())
    assert [mail.inbox_id for mail in again.items] == [claimed.items[0].inbox_id]
    await client.ack_inbox([again.items[0].inbox_id])
    assert (await client.claim_inbox(InboxClaim())).items == []


async def test_certificates_are_published_and_found(client, stranger, https):
    assert await client.find_certificate(ALICE) is None
    certificate = certificate_of(ALICE)
    await client.put_certificate(certificate)
    assert await client.find_certificate("Alice@Example.test") == certificate
    assert await client.find_certificate(f"nobody@{DOMAIN}") is None


def certificate_of(address: str) -> bytes:
    return bytes(pysequoia.Tsk.generate(f"<{address}>").extract_certificate())


async def test_notices_come_without_asking(client, provider: Provider):
    number = prepared(ALICE).secrets.account_id
    async with aclosing(client.events()) as events:
        assert await anext(events) == Event("hello", 1)
        assert await anext(events) == Event("head", 0)
        assert await anext(events) == Event("inbox", 0)
        await client.commit(commit(b"", b"head", 1, item("one")))
        assert await anext(events) == Event("head", 1)
        await provider.deliver([delivery(number)])
        assert await anext(events) == Event("inbox", 1)


async def test_notices_need_a_token(stranger):
    with pytest.raises(AuthFailed):
        await anext(stranger.events())


async def test_a_closed_client_can_be_used_again(client):
    await client.info()
    await client.close()
    await client.info()


async def test_accounts_do_not_leak_into_each_other(client, https: Served):
    made = blob(100)
    await client.put_blobs([made])
    await client.commit(commit(b"", b"head", 1, item("one")))
    token = await https.device("bob")
    async with ProviderClient(https.url, ca_file=https.ca_file, token=token) as bob:
        assert (await bob.get_blobs([made.blob_id])).missing == [made.blob_id]
        assert (await bob.pull(PullRequest(since=0))).items == []


def test_every_failure_is_of_one_family():
    for kind in (AuthFailed, HeadMoved, KeysetMoved, Refused):
        assert issubclass(kind, SoledadError)
