"""How far back a store remembers which uids left a mailbox, and what it answers of the time before."""

from __future__ import annotations

from pathlib import Path

from leap.keymanager.merges import MERGES as KEY_MERGES
from leap.mail.contract import INBOX, MailboxId, ModSeq, NewMessage, Uid
from leap.mail.local import LocalAccount
from leap.mail.model import MAIL_ROWS, MAILBOX_TYPE
from leap.mail.projection import MailIndex
from leap.soledad.store import Soledad
from tests.conformance.account_backend import PLAIN

KEY, ALICE = b"k" * 32, "alice@example.test"


async def opened(path: Path, expunged_kept: int) -> Soledad:
    return await Soledad.open(
        path,
        KEY,
        rows=(MAIL_ROWS,),
        projections=(MailIndex(expunged_kept=expunged_kept),),
        merges={MAILBOX_TYPE: "fields", **KEY_MERGES},
    )


async def expunge(account: LocalAccount, *uids: int) -> ModSeq:
    wanted = [Uid(uid) for uid in uids]
    await account.store_flags(INBOX, wanted, "add", ["\\Deleted"])
    await account.expunge(INBOX, wanted)
    return (await account.status(INBOX)).highest_modseq


async def test_the_oldest_are_forgotten_and_the_answer_still_misses_none(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    async with await opened(path, 3) as store:
        account = LocalAccount(store, ALICE)
        await account.append(INBOX, [NewMessage(raw=PLAIN)] * 9)
        first = await expunge(account, 2, 3)
        second = await expunge(account, 5, 6)
        third = await expunge(account, 8)
        assert await account.expunged(INBOX, ModSeq(1)) == [2, 3, 5, 6, 8]
        await account.close()
    async with await opened(path, 3) as store:
        account = LocalAccount(store, ALICE)
        for since, gone in (
            (0, [2, 3, 5, 6, 8]),
            (first - 1, [2, 3, 5, 6, 8]),
            (first, [5, 6, 8]),
            (second, [8]),
            (third, []),
        ):
            assert await account.expunged(INBOX, ModSeq(since)) == gone
        await expunge(account, 9)
        await account.close()
    async with await opened(path, 1) as store:
        account = LocalAccount(store, ALICE)
        assert await account.expunged(INBOX, ModSeq(second)) == [2, 3, 5, 6, 8, 9]
        assert await account.expunged(INBOX, third) == [9]
        assert await account.expunged(MailboxId("archive"), ModSeq(0)) == []
        await account.close()


async def test_what_is_remembered_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    async with await opened(path, 100) as store:
        account = LocalAccount(store, ALICE)
        await account.append(INBOX, [NewMessage(raw=PLAIN)] * 3)
        first = await expunge(account, 1)
        await expunge(account, 3)
        before = await account.status(INBOX)
        await account.close()
    async with await opened(path, 100) as store:
        account = LocalAccount(store, ALICE)
        assert await account.status(INBOX) == before
        assert await account.expunged(INBOX, first) == [3]
        await account.close()
