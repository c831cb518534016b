"""Words of deleted mail leave the vocabulary of search, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, NewMessage, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.search.forgetting import Forgetting, forget_terms
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from tests.mail.search.test_searching import ALICE, KEY, WORDS, mail


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
async def account(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, ALICE)
    yield account
    await account.close()


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def vocabulary(store: Soledad) -> set[str]:
    def job(connection: Connection) -> set[str]:
        return {term for (term,) in connection.execute("SELECT term FROM mail_term WHERE id > 1")}

    return await store.read(job)


async def add(account: LocalAccount, *raws: bytes) -> list[Uid]:
    made = await account.append(INBOX, [NewMessage(raw=raw) for raw in raws])
    await account.deriving.finish()
    return [one.uid for one in made]


async def delete(account: LocalAccount, uids: list[Uid]) -> None:
    await account.store_flags(INBOX, uids, "add", ["\\Deleted"])
    await account.expunge(INBOX)


async def test_only_words_of_mail_that_is_still_there_stay(
    account: LocalAccount, store: Soledad
) -> None:
    await add(account, mail(WORDS[:14], "kept"))
    kept = await vocabulary(store)
    gone = await add(account, mail(WORDS, "confidential diagnosis", file="secret.pdf"))
    assert await vocabulary(store) > kept
    forgetting = Forgetting(store, sleep=no_sleep)
    await forgetting.forget()
    assert await vocabulary(store) > kept  # nothing was deleted
    await delete(account, gone)
    await forgetting.forget()
    assert await vocabulary(store) == kept
    for word in WORDS[:14]:
        assert len((await account.search(f'"{word}"' if '"' not in word else "heron")).found) == 1
    assert (await account.search("diagnosis")).found == ()
    # what went is learnt anew, and found also by a part of it
    await add(account, mail(["xdiagnosisx"], "confidential diagnosis"))
    assert len((await account.search("agnosi")).found) == 1
    assert len((await account.search("subject:confidential")).found) == 1


async def test_slices_see_every_term_and_mail_that_comes_between_them_is_found(
    account: LocalAccount, store: Soledad
) -> None:
    uids = await add(account, mail([f"gone{number}" for number in range(50)]))
    await delete(account, uids)
    last = await store.read(lambda c: c.execute("SELECT max(id) FROM mail_term").fetchone()[0])
    at: int | None = 0
    number = 0
    while at is not None:
        at = await store.write(lambda c: forget_terms(c, at or 0, last, 7))  # noqa: B023
        number += 1
        await add(account, mail([f"came{number}", f"gone{number}"]))
        assert number < 100
    for came in range(1, number + 1):
        assert len((await account.search(f"came{came}")).found) == 1
        assert len((await account.search(f"gone{came}")).found) >= 1
    await delete(account, [row.uid for row in await account.rows(INBOX)])
    await Forgetting(store, sleep=no_sleep).forget()
    assert await vocabulary(store) == set()
