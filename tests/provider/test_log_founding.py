"""The provider's side of founding the log anew and of purging: once for each generation, in one transaction."""

from pathlib import Path

import pytest

from leap.provider.errors import BadRequest, HeadMoved
from leap.provider.provider import Provider
from leap.soledad.keyset import Keyset, open_keyset, sign_keyset
from leap.soledad.wire import CommitRequest, KeysetPut, PullPage, PullRequest, StageRequest
from tests.provider.world import DOMAIN, account, item, opened, prepared


def commit(head: bytes, seq: int, *texts: str, **options: object) -> CommitRequest:
    items = [item(text, 2) for text in texts]
    return CommitRequest(
        **{
            "parent": b"",
            "head": head,
            "head_seq": seq,
            "count": len(items),
            "items": items,
            **options,
        }  # type: ignore[arg-type]
    )


async def next_generation(provider: Provider, number: int, name: str) -> Keyset:
    made = prepared(f"{name}@{DOMAIN}")
    shown = await provider.accounts.secrets(number)
    known = open_keyset(shown.keyset, root_public=None)
    keyset = known.successor(generation=known.generation + 1)
    signed = sign_keyset(keyset, made.secrets.root_key)
    put = KeysetPut(expected_version=known.version, keyset=signed)
    await provider.accounts.put_keyset(number, put)
    await provider.accounts.put_keyset(number, put)  # its reply was lost
    return keyset


async def everything(provider: Provider, number: int) -> PullPage:
    return await provider.log.pull(number, PullRequest(since=0))


async def test_a_founding_replaces_items_and_head_and_leaves_other_accounts_alone(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as provider:
        alice, bob = await account(provider, "alice"), await account(provider, "bob")
        for number in (alice, bob):
            await provider.log.commit(number, commit(b"old", 2, "a", "b"))
        before = await everything(provider, bob)
        with pytest.raises(HeadMoved):  # which the root key has not signed
            await provider.log.commit(alice, commit(b"new", 10, "c", founding=2))
        await next_generation(provider, alice, "alice")
        await provider.log.stage(alice, StageRequest(push_id="old", first=0, items=[item("x")]))
        with pytest.raises(BadRequest):  # its seqs would be those of other items
            await provider.log.commit(alice, commit(b"new", 2, "c", founding=2))
        founding = commit(b"new", 10, "c", "a", founding=2)
        await provider.log.commit(alice, founding)
        page = await everything(provider, alice)
        assert (page.head, page.head_seq) == (b"new", 10)
        assert [(i.seq, i.item_id) for i in page.items] == [
            (9, item("c").item_id),
            (10, item("a").item_id),
        ]
        reply = await provider.log.stage(alice, StageRequest(push_id="old", first=0, items=[]))
        assert reply.staged == 0  # pushes of the former log are of no use
        await provider.log.commit(alice, founding)  # again at once: it is the head
        follow = commit(b"more", 11, "d", parent=_hash(b"new"))
        await provider.log.commit(alice, follow)
        with pytest.raises(HeadMoved):  # and again later: nothing is deleted
            await provider.log.commit(alice, founding)
        with pytest.raises(HeadMoved):
            await provider.log.commit(alice, commit(b"other", 20, "e", founding=2))
        with pytest.raises(HeadMoved):
            await provider.log.commit(alice, commit(b"other", 20, "e", founding=3))
        assert len((await everything(provider, alice)).items) == 3
        await next_generation(provider, alice, "alice")
        await provider.log.commit(alice, commit(b"third", 12, founding=3))
        assert (await everything(provider, alice)).items == []
        assert await everything(provider, bob) == before


async def test_purged_items_go_with_the_commit_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as provider:
        alice, bob = await account(provider, "alice"), await account(provider, "bob")
        for number in (alice, bob):
            await provider.log.commit(number, commit(b"old", 2, "a", "b"))
        gone = [item("a").item_id, bytes(32)]
        with pytest.raises(HeadMoved):
            await provider.log.commit(alice, commit(b"new", 2, parent=b"?", purged=gone))
        assert len((await everything(provider, alice)).items) == 2
        purge = commit(b"new", 2, parent=_hash(b"old"), purged=gone)
        for _ in range(2):
            await provider.log.commit(alice, purge)
            page = await everything(provider, alice)
            assert [i.item_id for i in page.items] == [item("b").item_id]
            assert (page.head, page.head_seq) == (b"new", 2)
        assert len((await everything(provider, bob)).items) == 2


async def test_only_a_new_generation_may_leave_versions_of_the_keyset_out(tmp_path: Path) -> None:
    """A provider restored from a backup knows an older keyset than the devices do."""
    async with opened(tmp_path) as provider:
        alice = await account(provider, "alice")
        made = prepared(f"alice@{DOMAIN}")
        known = open_keyset((await provider.accounts.secrets(alice)).keyset, root_public=None)
        newer = known.successor().successor()
        for generation, accepted in ((1, False), (2, True)):
            signed = sign_keyset(newer.successor(generation=generation), made.secrets.root_key)
            put = KeysetPut(expected_version=1, keyset=signed)
            if accepted:
                await provider.accounts.put_keyset(alice, put)
            else:
                with pytest.raises(BadRequest):
                    await provider.accounts.put_keyset(alice, put)
        assert (await provider.accounts.secrets(alice)).keyset_version == 4


def _hash(head: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(head).digest()
