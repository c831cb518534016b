"""CONDSTORE (RFC 7162 3.1): modification sequences in every answer, and STORE only of what did not change meanwhile."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    """Nine messages with the modseqs 2 to 10; then 7 and 9 change, at 11 and 12."""
    account = MemoryAccount()
    await fill(account, [mail(body=f"{n} lines") for n in range(9)])
    await account.store_flags(INBOX, [Uid(7)], "add", ["\\Flagged"])
    await account.store_flags(INBOX, [Uid(9)], "add", ["\\Seen"])
    await account.claim_recent(INBOX)
    return account


# -- what shows modseqs


async def test_select_tells_the_highest_modseq_to_everybody(account: MemoryAccount) -> None:
    """RFC 7162 3.1.2.1; examples 1 and 2."""
    await play(
        """
        C: a SELECT INBOX (CONDSTORE)
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 9 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY 1] …
        S: * OK [UIDNEXT 10] …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK [READ-WRITE] Selected.
        C: b STORE 1 +FLAGS (\\Seen)
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (13))
        S: b OK …
        C: c EXAMINE Archive ( condstore )
        S: c BAD …
        C: d EXAMINE Archive
        S: * OK [CLOSED] …
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ 1] Highest
        S: d OK [READ-ONLY] Examined.
        C: e SELECT INBOX (FASTER)
        S: e BAD …
        C: f SELECT INBOX ()
        S: f BAD …
        """,
        account=account,
        mailbox=None,
    )


async def test_status_tells_the_highest_modseq(account: MemoryAccount) -> None:
    """RFC 7162 3.1.7, 3.1.8: it is a command which enables CONDSTORE too."""
    await play(
        """
        C: a STATUS Archive (UIDNEXT MESSAGES HIGHESTMODSEQ)
        S: * STATUS Archive (UIDNEXT 1 MESSAGES 0 HIGHESTMODSEQ 1)
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b LIST "" INBOX RETURN (STATUS (HIGHESTMODSEQ))
        S: * LIST …
        S: * STATUS INBOX (HIGHESTMODSEQ 12)
        S: b OK …
        C: c STORE 1 +FLAGS.SILENT (\\Seen)
        S: * 1 FETCH (UID 1 MODSEQ (13))
        S: c OK …
        """,
        account=account,
    )


async def test_fetch_modseq(account: MemoryAccount) -> None:
    """RFC 7162 3.1.4.2."""
    await play(
        """
        C: a FETCH 6:7 (MODSEQ)
        S: * 6 FETCH (UID 6 MODSEQ (7))
        S: * 7 FETCH (UID 7 MODSEQ (11))
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b FETCH 6 (FLAGS modseq RFC822.SIZE)
        S: * 6 FETCH (UID 6 FLAGS () MODSEQ (7) RFC822.SIZE …
        S: b OK …
        C: c FETCH 6 (MODSEQ BODY[TEXT]<0.1>)
        S: * 6 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (13) BODY[TEXT]<0> {1}
        S: 5)
        S: c OK …
        C: d FETCH 6 (FLAGS MODSEQ BODY.PEEK[TEXT]<0.1>)
        S: * 6 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (13) BODY[TEXT]<0> {1}
        S: 5)
        S: d OK …
        """,
        account=account,
    )


async def test_flags_set_by_reading_come_with_their_modseq(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b FETCH 1 BODY[TEXT]<0.1>
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (13) BODY[TEXT]<0> {1}
        S: 0)
        S: b OK …
        C2: a NOOP
        S2: * 1 FETCH (UID 1 FLAGS (\\Seen))
        S2: a OK …
        """,
        account=account,
    )


async def test_fetch_of_what_changed_since(account: MemoryAccount) -> None:
    """RFC 7162 3.1.4.1; MODSEQ is answered though nobody named it."""
    await play(
        """
        C: a UID FETCH 1:* (FLAGS) (CHANGEDSINCE 10)
        S: * 7 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (11))
        S: * 9 FETCH (UID 9 FLAGS (\\Seen) MODSEQ (12))
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b FETCH 1:8 FAST (CHANGEDSINCE 10)
        S: * 7 FETCH (UID 7 FLAGS (\\Flagged) INTERNALDATE … RFC822.SIZE … MODSEQ (11))
        S: b OK …
        C: c FETCH 1:* (UID) (CHANGEDSINCE 12)
        S: c OK …
        C: d FETCH 7 UID (CHANGEDSINCE 0)
        S: * 7 FETCH (UID 7 MODSEQ (11))
        S: d OK …
        C: e FETCH 1:* UID (CHANGEDSINCE 9223372036854775808)
        S: e BAD …
        C: f FETCH 1:* UID (CHANGEDSINCE 9223372036854775807)
        S: f OK …
        C: g FETCH 1:* UID (CHANGEDSINCE 5 CHANGEDSINCE 6)
        S: g BAD …
        C: h FETCH 1:* UID (SINCE 5)
        S: h BAD …
        C: i FETCH 1:* UID ()
        S: i BAD …
        C: j FETCH 9 (MODSEQ FLAGS) (CHANGEDSINCE 5)
        S: * 9 FETCH (UID 9 MODSEQ (12) FLAGS (\\Seen))
        S: j OK …
        """,
        account=account,
    )


async def test_what_changed_this_moment_is_fetched_once(account: MemoryAccount) -> None:
    await play(
        """
        C2: a FETCH 1 MODSEQ
        S2: * 1 FETCH (UID 1 MODSEQ (2))
        S2: * OK [HIGHESTMODSEQ 12] Highest
        S2: a OK …
        C: a STORE 2 +FLAGS (\\Answered)
        S: * 2 FETCH (UID 2 FLAGS (\\Answered))
        S: a OK …
        C2: b FETCH 1:8 (FLAGS) (CHANGEDSINCE 12)
        S2: * 2 FETCH (UID 2 FLAGS (\\Answered) MODSEQ (13))
        S2: b OK …
        C2: c NOOP
        S2: c OK …
        """,
        account=account,
    )


# -- STORE


async def test_conditional_store_of_what_did_not_change(account: MemoryAccount) -> None:
    """RFC 7162 3.1.3, examples 3 to 5: .SILENT hides flags, not the modseq."""
    await play(
        """
        C: a UID STORE 6,4,8 (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted)
        S: * 4 FETCH (UID 4 MODSEQ (13))
        S: * 6 FETCH (UID 6 MODSEQ (13))
        S: * 8 FETCH (UID 8 MODSEQ (13))
        S: * OK [HIGHESTMODSEQ 13] Highest
        S: a OK Flags stored.
        C: b STORE * (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted $Processed)
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 9 FETCH (UID 9 MODSEQ (14))
        S: b OK Flags stored.
        C: c STORE 1 (UNCHANGEDSINCE 14) FLAGS (\\Seen)
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))
        S: c OK Flags stored.
        C: d STORE 1 (UNCHANGEDSINCE 15) FLAGS (\\Seen)
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))
        S: d OK Flags stored.
        """,
        account=account,
    )


async def test_what_others_changed_is_left_alone_and_named(account: MemoryAccount) -> None:
    """RFC 7162 3.1.3, examples 6, 8 and 9: the others are stored; numbers or uids, as they were asked for."""
    await play(
        """
        C: a STORE 7,5,9 (UNCHANGEDSINCE 10) +FLAGS.SILENT (\\Deleted)
        S: * 5 FETCH (UID 5 MODSEQ (13))
        S: * OK [HIGHESTMODSEQ 13] Highest
        S: a OK [MODIFIED 7,9] …
        C: b UID STORE 7:9 (UNCHANGEDSINCE 11) +FLAGS (\\Deleted)
        S: * 7 FETCH (UID 7 FLAGS (\\Deleted \\Flagged) MODSEQ (14))
        S: * 8 FETCH (UID 8 FLAGS (\\Deleted) MODSEQ (14))
        S: b OK [MODIFIED 9] …
        C: c STORE 1:3 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)
        S: c OK [MODIFIED 1:3] …
        C: d STORE 1 (UNCHANGEDSINCE) +FLAGS (\\Seen)
        S: d BAD …
        C: e STORE 1 (UNCHANGEDSINCE 3 4) +FLAGS (\\Seen)
        S: e BAD …
        C: f STORE 1 (CHANGEDSINCE 3) +FLAGS (\\Seen)
        S: f BAD …
        """,
        account=account,
    )
    assert not (await account.rows(INBOX, last=Uid(1)))[0].flags


async def test_the_flags_of_others_are_told_with_the_refusal(account: MemoryAccount) -> None:
    """RFC 7162 3.1.3, example 7: the client sees at once what it would have overwritten."""
    await play(
        """
        C: a FETCH 3 MODSEQ
        S: * 3 FETCH (UID 3 MODSEQ (4))
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C2: a STORE 3 +FLAGS.SILENT (\\Answered)
        S2: a OK …
        C: b STORE 3 (UNCHANGEDSINCE 4) FLAGS (\\Draft)
        S: * 3 FETCH (UID 3 FLAGS (\\Answered) MODSEQ (13))
        S: b OK [MODIFIED 3] …
        C: c STORE 3 (UNCHANGEDSINCE 13) +FLAGS.SILENT (\\Draft)
        S: * 3 FETCH (UID 3 MODSEQ (14))
        S: c OK Flags stored.
        C2: b NOOP
        S2: * 3 FETCH (UID 3 FLAGS (\\Answered \\Draft))
        S2: b OK …
        """,
        account=account,
    )


async def test_expunged_messages_count_as_modified(account: MemoryAccount) -> None:
    """RFC 7162 3.1.3, examples 10 and 11; uids which are not there are passed over."""
    await play(
        """
        C2: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK …
        C: a STORE 1:3,7 (UNCHANGEDSINCE 10) +FLAGS.SILENT (\\Seen)
        S: * 1 FETCH (UID 1 MODSEQ (15))
        S: * 3 FETCH (UID 3 MODSEQ (15))
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a NO [MODIFIED 2,7] …
        C: b UID STORE 2:3 (UNCHANGEDSINCE 15) +FLAGS (\\Seen)
        S: * 3 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (15))
        S: * 2 EXPUNGE
        S: b OK Flags stored.
        C: c NOOP
        S: c OK …
        """,
        account=account,
    )


async def test_no_modseq_is_called_the_highest_while_an_expunge_is_held_back(
    account: MemoryAccount,
) -> None:
    """RFC 7162 3.2: a client that keeps the greatest modseq it saw would never hear of the expunge."""
    await play(
        """
        C: a ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C2: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK …
        C: b STORE 3 +FLAGS.SILENT (\\Seen)
        S: * 3 FETCH (UID 3 MODSEQ (15))
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: b OK …
        C: c STATUS INBOX (HIGHESTMODSEQ)
        S: * STATUS INBOX (HIGHESTMODSEQ 15)
        S: * 2 EXPUNGE
        S: c OK …
        """,
        account=account,
    )


async def test_a_flag_set_and_cleared_again_still_raises_the_modseq(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C2: a STORE 2 +FLAGS.SILENT (\\Seen)
        S2: a OK …
        C2: b STORE 2 -FLAGS.SILENT (\\Seen)
        S2: b OK …
        C: b NOOP
        S: * 2 FETCH (UID 2 FLAGS () MODSEQ (14))
        S: b OK …
        C: c NOOP
        S: c OK …
        """,
        account=account,
    )


async def test_a_read_only_mailbox_takes_no_conditional_store(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in()
    await talk.send(b"a EXAMINE INBOX (CONDSTORE)\r\n")
    said = await talk.send(b"b STORE 1 (UNCHANGEDSINCE 20) +FLAGS (\\Seen)\r\n")
    assert said.startswith(b"b NO [READ-ONLY] ")
    await talk.end()


# -- expunges


async def test_expunging_tells_the_highest_modseq_when_something_went(
    account: MemoryAccount,
) -> None:
    """RFC 7162 3.2.7 and 3.2.9; RFC 6851 4.4. CLOSE never does (RFC 7162 3.2.8)."""
    await play(
        """
        C: a ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b EXPUNGE
        S: b OK Expunged.
        C: c STORE 1:3 +FLAGS.SILENT (\\Deleted)
        S: * 1 FETCH (UID 1 MODSEQ (13))
        S: * 2 FETCH (UID 2 MODSEQ (13))
        S: * 3 FETCH (UID 3 MODSEQ (13))
        S: c OK …
        C: d UID EXPUNGE 2
        S: * 2 EXPUNGE
        S: d OK [HIGHESTMODSEQ 14] Expunged.
        C: e EXPUNGE
        S: * 2 EXPUNGE
        S: * 1 EXPUNGE
        S: e OK [HIGHESTMODSEQ 15] Expunged.
        C: f UID EXPUNGE 1:*
        S: f OK Expunged.
        C: g MOVE 1 Archive
        S: * OK [COPYUID …] Moved
        S: * 1 EXPUNGE
        S: g OK [HIGHESTMODSEQ 16] Moved.
        C: h STORE 1 +FLAGS.SILENT (\\Deleted)
        S: * 1 FETCH (UID 5 MODSEQ (17))
        S: h OK …
        C: i CLOSE
        S: i OK Closed.
        C2: a NOOP
        S2: * 5 EXPUNGE
        S2: * 4 EXPUNGE
        S2: * 3 EXPUNGE
        S2: * 2 EXPUNGE
        S2: * 1 EXPUNGE
        S2: a OK …
        """,
        account=account,
    )


async def test_idling_clients_hear_modseqs(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE CONDSTORE
        C: b IDLE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        S: + idling
        C2: a STORE 4 +FLAGS.SILENT (\\Flagged)
        S2: a OK …
        S: * 4 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ (13))
        C: DONE
        S: b OK …
        """,
        account=account,
    )


# -- SEARCH


async def test_search_by_modseq(account: MemoryAccount) -> None:
    """RFC 7162 3.1.5, 3.1.6: what is found, and the highest modseq of it; the entry names change nothing."""
    await play(
        """
        C: a SEARCH MODSEQ "/flags/\\\\draft" all 10
        S: * SEARCH 7 9 (MODSEQ 12)
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b SEARCH OR NOT MODSEQ 4 LARGER 50000
        S: * SEARCH 1 2 (MODSEQ 3)
        S: b OK …
        C: c UID SEARCH MODSEQ "/flags/$forwarded" shared 11 UID 1:8
        S: * SEARCH 7 (MODSEQ 11)
        S: c OK …
        C: d SEARCH MODSEQ 13
        S: * SEARCH
        S: d OK …
        C: e SEARCH MODSEQ 0 1
        S: * SEARCH 1 (MODSEQ 2)
        S: e OK …
        C: f SEARCH MODSEQ "/comment" all 5
        S: f BAD …
        C: g SEARCH MODSEQ "/flags/x" most 5
        S: g BAD …
        C: h SEARCH MODSEQ many
        S: h BAD …
        C: i SEARCH SEEN
        S: * SEARCH 9
        S: i OK …
        """,
        account=account,
    )


async def test_extended_search_tells_the_modseq_of_what_it_returns(account: MemoryAccount) -> None:
    """RFC 4731 3.2: of the ends, when only those are answered."""
    await play(
        """
        C: a SEARCH RETURN (MIN) MODSEQ 4 1:7
        S: * ESEARCH (TAG "a") MIN 3 MODSEQ 4
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        C: b SEARCH RETURN (MAX) MODSEQ 4 1:8
        S: * ESEARCH (TAG "b") MAX 8 MODSEQ 9
        S: b OK …
        C: c SEARCH RETURN (MIN MAX) MODSEQ 4 1:8
        S: * ESEARCH (TAG "c") MIN 3 MAX 8 MODSEQ 9
        S: c OK …
        C: d UID SEARCH RETURN (COUNT) MODSEQ 4 1:8
        S: * ESEARCH (TAG "d") UID COUNT 6 MODSEQ 11
        S: d OK …
        C: e SEARCH RETURN () MODSEQ 4 1:8
        S: * ESEARCH (TAG "e") ALL 3:8 MODSEQ 11
        S: e OK …
        C: f SEARCH RETURN (ALL COUNT) MODSEQ 40
        S: * ESEARCH (TAG "f") COUNT 0
        S: f OK …
        """,
        account=account,
    )


# -- who gets modseqs


async def test_who_never_asked_is_told_no_modseq(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(
        b"a STORE 1 +FLAGS (\\Deleted)\r\nb EXPUNGE\r\nc FETCH 1 (FLAGS BODY[])\r\nd SEARCH ALL\r\n"
        b"e COPY 1 INBOX\r\nf UID MOVE 2 Archive\r\ng NOOP\r\n"
    )
    assert b"MODSEQ" not in said
    await talk.end()


@pytest.mark.parametrize(
    "command",
    [
        "SELECT INBOX (CONDSTORE)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "FETCH 1 (MODSEQ)",
        "FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
        "STORE 2 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "SEARCH MODSEQ 1",
        "ENABLE CONDSTORE",
        "ENABLE QRESYNC",
    ],
)
async def test_each_command_that_enables_modseqs(account: MemoryAccount, command: str) -> None:
    """RFC 7162 3.1: from then on every flag told of comes with one."""
    talk = await Talk(account).log_in("INBOX")
    assert b"[HIGHESTMODSEQ 12]" in await talk.send(f"a {command}\r\n".encode())
    await account.store_flags(INBOX, [Uid(4)], "add", ["\\Flagged"])
    assert b"* 4 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ (13))" in await talk.send(b"b NOOP\r\n")
    await talk.end()


async def test_modseqs_of_another_mailbox_go_on_by_themselves(account: MemoryAccount) -> None:
    await account.copy(INBOX, [Uid(1), Uid(2)], MailboxId("archive"))
    assert (await account.status(INBOX)).highest_modseq == 12
    await play(
        """
        C: a STATUS Archive (HIGHESTMODSEQ)
        S: * STATUS Archive (HIGHESTMODSEQ 3)
        S: * OK [HIGHESTMODSEQ 12] Highest
        S: a OK …
        """,
        account=account,
    )
