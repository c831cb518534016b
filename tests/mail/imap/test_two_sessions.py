"""Two sessions on one mailbox: what one does to it, and what the other is told and may still do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, MailboxId, RowId, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play

GONE = """
        C: x STORE 2 +FLAGS.SILENT (\\Deleted)
        S: x OK …
        C: y EXPUNGE
        S: * 2 EXPUNGE
        S: y OK …
"""


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await fill(account, [mail()] * 4)
    return account


@pytest.mark.parametrize(
    ("command", "heard"),
    [
        ("NOOP", ["* 2 EXPUNGE", "a OK …"]),
        ("CHECK", ["* 2 EXPUNGE", "a OK …"]),
        ("FETCH 2 (UID FLAGS)", ["* 2 FETCH (UID 2 FLAGS ())", "a OK …"]),
        ("FETCH 2 (RFC822.SIZE)", ["* 2 FETCH (UID 2 RFC822.SIZE …", "a OK …"]),
        ("FETCH 2 (ENVELOPE)", ["a NO [EXPUNGEISSUED] …"]),
        ("FETCH 2 (PREVIEW)", ["a NO [EXPUNGEISSUED] …"]),
        ("FETCH 2 (BODY[])", ["a NO [EXPUNGEISSUED] …"]),
        ("UID FETCH 2 (BODY[])", ["* 2 EXPUNGE", "a NO [EXPUNGEISSUED] …"]),
        ("STORE 2 FLAGS (\\Seen)", ["a NO [EXPUNGEISSUED] …"]),
        ("STORE 2 (UNCHANGEDSINCE 99) FLAGS (\\Seen)", ["* OK [HIGHESTMODSEQ 5] …", "a NO [MODIFIED 2] …"]),
        ("UID STORE 2 FLAGS (\\Seen)", ["* 2 EXPUNGE", "a OK …"]),
        ("COPY 2 Archive", ["* 2 EXPUNGE", "a NO [EXPUNGEISSUED] …"]),
        ("UID COPY 2 Archive", ["* 2 EXPUNGE", "a NO [EXPUNGEISSUED] …"]),
        ("MOVE 2 Archive", ["* 2 EXPUNGE", "a NO [EXPUNGEISSUED] …"]),
        ("UID MOVE 2 Archive", ["* 2 EXPUNGE", "a NO [EXPUNGEISSUED] …"]),
        ("EXPUNGE", ["* 2 EXPUNGE", "a OK Expunged."]),
        ("UID EXPUNGE 2", ["* 2 EXPUNGE", "a OK Expunged."]),
        ("SEARCH TEXT line", ["* SEARCH 1 …3 4", "a OK …"]),
        ("CLOSE", ["a OK Closed."]),
        ("UNSELECT", ["a OK Unselected."]),
    ],
)  # fmt: skip
async def test_every_command_on_a_message_that_another_session_expunged(
    account: MemoryAccount, command: str, heard: list[str]
) -> None:
    answers = "".join(f"S2: {line}\n" for line in heard)
    await play(f"{GONE}\nC2: a {command}\n{answers}", account=account)
    assert [row.uid for row in await account.rows(INBOX)] == [1, 3, 4]
    assert await account.rows(MailboxId("archive")) == []


async def test_arrivals_are_told_wherever_they_come_from(account: MemoryAccount) -> None:
    await account.copy(INBOX, [Uid(1)], MailboxId("archive"))
    await play(
        """
        C: a APPEND INBOX {1+}
        C: x
        S: * 5 EXISTS
        S: * 1 RECENT
        S: a OK [APPENDUID 1 5] …
        C2: a NOOP
        S2: * 5 EXISTS
        S2: * 0 RECENT
        S2: a OK …
        C2: b COPY 1:2 INBOX
        S2: * 7 EXISTS
        S2: * 2 RECENT
        S2: b OK [COPYUID …
        C: b FETCH 7 UID
        S: * 7 EXISTS
        S: * 1 RECENT
        S: b BAD …
        C: c FETCH 7 UID
        S: * 7 FETCH (UID 7)
        S: c OK …
        C: d MOVE 1 INBOX
        S: * OK [COPYUID 1 1 8] …
        S: * 1 EXPUNGE
        S: * 7 EXISTS
        S: * 2 RECENT
        S: d OK …
        C2: c UID FETCH 8 UID
        S2: * 1 EXPUNGE
        S2: * 7 EXISTS
        S2: * 2 RECENT
        S2: c OK …
        """,
        account=account,
    )


async def test_renaming_inbox_takes_its_messages_from_the_other_session(
    account: MemoryAccount,
) -> None:
    await play(
        """
        C: a RENAME INBOX Old
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: * 1 EXPUNGE
        S: a OK …
        C2: a ENABLE QRESYNC
        S2: * ENABLED QRESYNC
        S2: * VANISHED 1:4
        S2: * OK [HIGHESTMODSEQ 6] …
        S2: a OK …
        """,
        account=account,
    )


async def test_what_goes_while_it_is_fetched_is_left_out() -> None:
    class Vanishing(MemoryAccount):
        async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
            if (await self.rows(INBOX))[0].row_id == row_id:
                await self.store_flags(INBOX, [Uid(3)], "add", ["\\Deleted"])
                await self.expunge(INBOX)
            return await super().read(row_id, start, length)

    account = Vanishing()
    await fill(account, [mail(body="a"), mail(body="b"), mail(body="c"), mail(body="d")])
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a ENABLE QRESYNC\r\n")
    said = await talk.send(b"b UID FETCH 1:4 BODY.PEEK[TEXT]\r\n")
    assert [b"(UID %d BODY" % n in said for n in (1, 2, 3, 4)] == [True, True, False, True]
    assert said.endswith(b"* VANISHED 3\r\nb NO [EXPUNGEISSUED] The message was expunged.\r\n")
    await talk.end()


# -- the same over an account on Soledad


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalAccount]:
    async with await open_mail_store(tmp_path / "alice.db", bytes(32)) as store:
        account = await LocalAccount.open(store, "alice@example.test")
        await fill(account, [mail(body=f"{n}") for n in range(6)])
        await account.claim_recent(INBOX)
        yield account
        await account.close()


async def test_conditional_stores_and_coming_back_on_soledad(local: LocalAccount) -> None:
    first, second = await Talk(local).log_in("INBOX"), await Talk(local).log_in("INBOX")
    for talk in (first, second):
        await talk.send(b"a ENABLE QRESYNC\r\n")
    since = (await local.status(INBOX)).highest_modseq
    validity = (await local.status(INBOX)).uid_validity
    store = b"b UID STORE 2:3 (UNCHANGEDSINCE %d) +FLAGS (%s)\r\n"
    said = await first.send(store % (since, b"$One"))
    assert said.endswith(b"b OK Flags stored.\r\n")
    assert b"* 2 FETCH (UID 2 FLAGS ($One) MODSEQ (%d))\r\n" % (since + 1) in said
    said = await second.send(store % (since, b"$Two"))
    assert said.endswith(b"b OK [MODIFIED 2:3] Others changed some messages.\r\n")
    assert b"* 3 FETCH (UID 3 FLAGS ($One) MODSEQ (%d))\r\n" % (since + 1) in said
    await second.end()
    await first.send(b"c UID STORE 4:5 +FLAGS.SILENT (\\Deleted)\r\n")
    assert (await first.send(b"d EXPUNGE\r\n")).startswith(
        b"* VANISHED 4:5\r\nd OK [HIGHESTMODSEQ "
    )
    await first.end()
    third = await Talk(local).log_in()
    await third.send(b"a ENABLE QRESYNC\r\n")
    said = await third.send(b"b SELECT INBOX (QRESYNC (%d %d 1:6))\r\n" % (validity, since))
    assert b"* VANISHED (EARLIER) 4:5\r\n* 2 FETCH (UID 2 FLAGS ($One) MODSEQ" in said
    await third.end()


async def test_storing_what_is_so_already_hides_nothing_of_what_another_session_stored(
    account: MemoryAccount,
) -> None:
    await play(
        """
        C: x STORE 1:3 +FLAGS.SILENT (\\Seen)
        S: x OK …
        C2: a STORE 1 +FLAGS (\\Seen)
        S2: * 1 FETCH (UID 1 FLAGS (\\Seen))
        S2: * 2 FETCH (UID 2 FLAGS (\\Seen))
        S2: * 3 FETCH (UID 3 FLAGS (\\Seen))
        S2: a OK …
        """,
        account=account,
    )
