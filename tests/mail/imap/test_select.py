"""SELECT, EXAMINE, CLOSE, UNSELECT, STATUS, and \\Recent."""

from __future__ import annotations

from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


async def test_select_tells_all_there_is_to_know() -> None:
    account = MemoryAccount()
    await fill(account, [mail("one"), mail("two")], flags=["\\Seen", "$Work"])
    await fill(account, [mail("three")])
    await play(
        """
        C: a SELECT InBoX
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags kept
        S: * 3 EXISTS
        S: * 3 RECENT
        S: * OK [UNSEEN 3] First unseen
        S: * OK [UIDVALIDITY 1] UIDs valid
        S: * OK [UIDNEXT 4] Next UID
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: a OK [READ-WRITE] Selected.
        C: b EXAMINE INBOX
        S: * OK [CLOSED] The other mailbox is closed
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
        S: * OK [PERMANENTFLAGS ()] Flags kept
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 3] First unseen
        S: * OK [UIDVALIDITY 1] UIDs valid
        S: * OK [UIDNEXT 4] Next UID
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: b OK [READ-ONLY] Examined.
        C: c STORE 1 FLAGS (\\Deleted)
        S: c NO [READ-ONLY] The mailbox was opened read-only.
        C: d SELECT Nowhere
        S: * OK [CLOSED] The other mailbox is closed
        S: d NO [NONEXISTENT] There is no such mailbox.
        C: e FETCH 1 FLAGS
        S: e BAD Select a mailbox first.
        """,
        account=account,
        mailbox=None,
        recent_gone=False,
    )


async def test_recent_belongs_to_the_first_who_selects() -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    await play(
        """
        C2: a EXAMINE INBOX
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS ()] …
        S2: * 1 EXISTS
        S2: * 1 RECENT
        S2: * OK [UNSEEN 1] …
        S2: * OK [UIDVALIDITY …
        S2: * OK [UIDNEXT …
        S2: * OK [MAILBOXID …
        S2: * OK [HIGHESTMODSEQ …
        S2: a OK …
        C: b SELECT INBOX
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: b OK …
        C: c FETCH 1 FLAGS
        S: * 1 FETCH (UID 1 FLAGS (\\Recent))
        S: c OK …
        C2: d SELECT INBOX
        S2: * OK [CLOSED] …
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: * 1 EXISTS
        S2: * 0 RECENT
        S2: * OK [UNSEEN 1] …
        S2: * OK [UIDVALIDITY …
        S2: * OK [UIDNEXT …
        S2: * OK [MAILBOXID …
        S2: * OK [HIGHESTMODSEQ …
        S2: d OK …
        C2: e FETCH 1 FLAGS
        S2: * 1 FETCH (UID 1 FLAGS ())
        S2: e OK …
        """,
        account=account,
        mailbox=None,
        recent_gone=False,
    )


async def test_who_examines_sees_what_is_recent_and_takes_it_from_nobody() -> None:
    """RFC 3501 2.3.2, 6.3.2: RECENT, the flags and SEARCH say the same."""
    account = MemoryAccount()
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    await fill(account, [mail(), mail()])
    looking, reading = Talk(account), Talk(account)
    await looking.log_in()
    await reading.log_in()
    assert b"* 2 RECENT" in await looking.send(b"a EXAMINE INBOX\r\n")
    said = await looking.send(b"b FETCH 1:* FLAGS\r\nc SEARCH RECENT\r\n")
    assert b"UID 1 FLAGS ()" in said
    assert said.count(b"FLAGS (\\Recent)") == 2
    assert b"* SEARCH 2 3\r\n" in said
    await fill(account, [mail()])
    said = await looking.send(b"d NOOP\r\ne SEARCH OLD\r\nf STATUS INBOX (RECENT)\r\n")
    assert b"* 4 EXISTS\r\n* 3 RECENT\r\n" in said
    assert b"* SEARCH 1\r\n" in said
    assert b"* STATUS INBOX (RECENT 3)" in said
    assert b"* 3 RECENT" in await reading.send(b"a SELECT INBOX\r\n")
    await fill(account, [mail()])  # nobody claimed the last one yet
    assert b"* 4 RECENT" in await looking.send(b"g NOOP\r\n")
    assert b"* 4 RECENT" in await reading.send(b"b NOOP\r\n")
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    assert b"* 6 EXISTS\r\n* 4 RECENT" in await looking.send(b"h NOOP\r\n")
    await looking.end()
    await reading.end()


async def test_status_of_the_selected_mailbox_counts_what_this_session_sees_as_recent() -> None:
    account = MemoryAccount()
    await fill(account, [mail(), mail()])
    await play(
        """
        C: a STATUS INBOX (RECENT)
        S: * STATUS INBOX (RECENT 2)
        S: a OK …
        """,
        account=account,
        recent_gone=False,
    )


async def test_close_expunges_in_silence_and_unselect_does_not() -> None:
    account = MemoryAccount()
    await fill(account, [mail(), mail()], flags=["\\Deleted"])
    await play(
        """
        C: a UNSELECT
        S: a OK Unselected.
        C: b STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 2)
        S: b OK …
        C: c EXAMINE INBOX
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 2 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: c OK …
        C: d CLOSE
        S: d OK Closed.
        """,
        account=account,
    )
    assert (await account.status(INBOX)).messages == 2
    await play("C: a CLOSE\nS: a OK Closed.", account=account)
    assert (await account.status(INBOX)).messages == 0


async def test_status_of_any_mailbox() -> None:
    account = MemoryAccount()
    raw = mail()
    await fill(account, [raw, raw])
    await play(
        f"""
        C: a STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE)
        S: * STATUS INBOX (MESSAGES 2 RECENT 2 UIDNEXT 3 UIDVALIDITY 1 UNSEEN 2 SIZE {2 * len(raw)})
        S: a OK …
        C: b STATUS Nowhere (MESSAGES)
        S: b NO [NONEXISTENT] …
        C: c STATUS INBOX (MESSAGES WEIGHT)
        S: c BAD …
        C: d STATUS INBOX ()
        S: d BAD …
        """,
        account=account,
        mailbox=None,
        recent_gone=False,
    )


async def test_a_mailbox_deleted_elsewhere_ends_the_session_that_selected_it() -> None:
    account = MemoryAccount()
    await account.create_mailbox("Short")
    await play(
        """
        C: a SELECT Short
        S: * OK [CLOSED] …
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: a OK …
        C2: a DELETE Short
        S2: a OK Deleted.
        C: b NOOP
        S: * BYE The selected mailbox was deleted.
        S: b OK Nothing done.
        """,
        account=account,
    )
