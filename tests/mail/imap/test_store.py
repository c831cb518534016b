"""STORE, EXPUNGE and UID EXPUNGE, alone and before the eyes of a second session."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await fill(account, [mail()] * 4)
    return account


async def test_store_in_all_its_forms(account: MemoryAccount) -> None:
    await play(
        """
        C: a STORE 1 FLAGS (\\seen $Work)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags kept
        S: * 1 FETCH (UID 1 FLAGS ($Work \\Seen))
        S: a OK …
        C: b STORE 1 +FLAGS \\FLAGGED $wOrK
        S: * 1 FETCH (UID 1 FLAGS ($Work \\Flagged \\Seen))
        S: b OK …
        C: c UID STORE 1,3 -FLAGS (\\Seen)
        S: * 1 FETCH (UID 1 FLAGS ($Work \\Flagged))
        S: * 3 FETCH (UID 3 FLAGS ())
        S: c OK …
        C: d STORE 2:3 +FLAGS.SILENT (\\Draft)
        S: d OK …
        C: e STORE 1:2 FLAGS ()
        S: * 1 FETCH (UID 1 FLAGS ())
        S: * 2 FETCH (UID 2 FLAGS ())
        S: e OK …
        C: f STORE 1 +FLAGS (\\Recent)
        S: f BAD …
        C: g STORE 1 +FLAGS (\\Invented)
        S: g BAD …
        C: h STORE 1 +LABELS (x)
        S: h BAD …
        C: i STORE 9 +FLAGS (\\Seen)
        S: i BAD There is no message with that number.
        C: j UID STORE 99 +FLAGS (\\Seen)
        S: j OK …
        C: k STORE 1 +FLAGS
        S: k BAD …
        """,
        account=account,
    )
    assert [set(row.flags) for row in await account.rows(INBOX)] == [
        set(),
        set(),
        {"\\Draft"},
        set(),
    ]


async def test_the_other_session_hears_of_flags_at_its_next_command(account: MemoryAccount) -> None:
    await play(
        """
        C: a STORE 2 +FLAGS.SILENT (\\Flagged)
        S: a OK …
        C2: a FETCH 1 FLAGS
        S2: * 1 FETCH (UID 1 FLAGS ())
        S2: * 2 FETCH (UID 2 FLAGS (\\Flagged))
        S2: a OK …
        C2: b STORE 2 +FLAGS (\\Seen)
        S2: * 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen))
        S2: b OK …
        C: b NOOP
        S: * 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen))
        S: b OK …
        """,
        account=account,
    )


async def test_silent_hides_only_the_change_asked_for(account: MemoryAccount) -> None:
    first, second = await Talk(account).log_in("INBOX"), await Talk(account).log_in("INBOX")
    await first.send(b"a STORE 1 +FLAGS.SILENT (\\Answered)\r\n")
    said = await second.send(b"a STORE 1 +FLAGS.SILENT (\\Seen)\r\n")
    assert b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Seen))\r\n" in said
    await first.end()
    await second.end()


async def test_expunge_announces_falling_numbers_once(account: MemoryAccount) -> None:
    await play(
        """
        C: a STORE 1,3:4 +FLAGS.SILENT (\\Deleted)
        S: a OK …
        C: b UID EXPUNGE 2:3
        S: * 3 EXPUNGE
        S: b OK …
        C: c EXPUNGE
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: c OK …
        C: d EXPUNGE
        S: d OK …
        C: e FETCH 1:* UID
        S: * 1 FETCH (UID 2)
        S: e OK …
        C2: a NOOP
        S2: * 4 EXPUNGE
        S2: * 3 EXPUNGE
        S2: * 1 EXPUNGE
        S2: a OK …
        """,
        account=account,
    )


async def test_expunge_is_not_told_during_fetch_store_and_search(account: MemoryAccount) -> None:
    """RFC 3501 7.4.1: the numbers stand still until another command ends."""
    await play(
        """
        C: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S: a OK …
        C: b EXPUNGE
        S: * 2 EXPUNGE
        S: b OK …
        C2: a FETCH 3 FLAGS
        S2: * 3 FETCH (UID 3 FLAGS ())
        S2: a OK …
        C2: b SEARCH ALL
        S2: * SEARCH 1 3 4
        S2: b OK …
        C2: c STORE 2:3 +FLAGS (\\Seen)
        S2: * 3 FETCH (UID 3 FLAGS (\\Seen))
        S2: c NO [EXPUNGEISSUED] …
        C2: d FETCH 2:3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]
        S2: * 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {18}
        S2: Subject: Hello
        S2:\x20
        S2: )
        S2: d NO [EXPUNGEISSUED] …
        C2: e COPY 2:3 Archive
        S2: * 2 EXPUNGE
        S2: e NO [EXPUNGEISSUED] …
        C2: f FETCH 2 UID
        S2: * 2 FETCH (UID 3)
        S2: f OK …
        """.replace("S2:\x20\n", "S2:\n"),
        account=account,
    )


async def test_uid_commands_tell_expunges(account: MemoryAccount) -> None:
    await play(
        """
        C: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S: a OK …
        C: b EXPUNGE
        S: * 2 EXPUNGE
        S: b OK …
        C2: a UID FETCH 1:3 UID
        S2: * 1 FETCH (UID 1)
        S2: * 2 FETCH (UID 2)
        S2: * 3 FETCH (UID 3)
        S2: * 2 EXPUNGE
        S2: a OK …
        """,
        account=account,
    )


async def test_no_exists_in_answer_to_expunge(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a STORE 1:4 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\n")
    assert b"EXISTS" not in said
    assert said.count(b"EXPUNGE\r\n") == 4
    await talk.end()


async def test_many_expunges_at_once_are_numbered_rightly() -> None:
    account = MemoryAccount()
    await fill(account, [mail()] * 100)
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a STORE 1:40,60:100 +FLAGS.SILENT (\\Deleted)\r\n")
    said = await talk.send(b"b EXPUNGE\r\n")
    left = list(range(1, 101))
    for line in said.split(b"\r\n"):
        if line.endswith(b" EXPUNGE"):
            del left[int(line.split()[1]) - 1]
    assert left == list(range(41, 60))
    assert [row.uid for row in await account.rows(INBOX)] == left
    await talk.end()


async def test_a_flag_on_an_expunged_message_is_not_told(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in("INBOX")
    await account.store_flags(INBOX, [Uid(1)], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    assert await talk.send(b"a NOOP\r\n") == b"* 1 EXPUNGE\r\na OK Nothing done.\r\n"
    await talk.end()
