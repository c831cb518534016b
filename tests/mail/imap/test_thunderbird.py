"""What Thunderbird 153 sends, command by command, as its own log showed it (November 2026).

Thunderbird itself is driven in tests/thunderbird. It logs in by AUTHENTICATE PLAIN without an initial response, and
keeps one connection a folder.
"""

from __future__ import annotations

import pytest

from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, mail, play

HEADERS = (
    "HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups"
    " In-Reply-To Content-Type Reply-To Received)"
)
FIELDS = (
    "S: From: Alice <alice@example.test>\nS: To: Bob <bob@example.test>\nS: Subject: mail {}\n"
    "S: Date: Mon, 02 Nov 2026 10:00:00 +0100\nS: Message-ID: <11@example.test>\nS:"
)


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount(now=lambda: 1_800_000_000)
    await fill(account, [mail(f"mail {n}") for n in range(3)])
    return account


async def test_its_first_synchronisation(account: MemoryAccount) -> None:
    await play(
        f"""
        C: 2 ID ("name" "Thunderbird" "version" "153.7.0")
        S: * ID ("name" "leap.mail")
        S: 2 OK …
        C: 3 list (subscribed) "" "*" return (special-use)
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * LIST (\\HasNoChildren \\Subscribed \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Subscribed \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Subscribed \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Subscribed \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Subscribed \\Trash) "/" Trash
        S: 3 OK …
        C: 4 list "" "INBOX"
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: 4 OK …
        C: 5 select "INBOX"
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] …
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY 1] …
        S: * OK [UIDNEXT 4] …
        S: * OK [MAILBOXID (inbox)] …
        S: * OK [HIGHESTMODSEQ …] …
        S: 5 OK [READ-WRITE] …
        C: 6 UID fetch 1:* (FLAGS)
        S: * 1 FETCH (UID 1 FLAGS ())
        S: * 2 FETCH (UID 2 FLAGS ())
        S: * 3 FETCH (UID 3 FLAGS ())
        S: 6 OK …
        C: 7 UID fetch 1:2 (UID RFC822.SIZE FLAGS BODY.PEEK[{HEADERS}])
        S: * 1 FETCH (UID 1 RFC822.SIZE 162 FLAGS () BODY[{HEADERS}] {{151}}
        {FIELDS.format(0)}
        S: )
        S: * 2 FETCH (UID 2 RFC822.SIZE 162 FLAGS () BODY[{HEADERS}] {{151}}
        {FIELDS.format(1)}
        S: )
        S: 7 OK …
        C: 8 UID fetch 1 (UID RFC822.SIZE BODY.PEEK[])
        S: * 1 FETCH (UID 1 RFC822.SIZE 162 BODY[] {{162}}
        {FIELDS.format(0)}
        S: One line.
        S: )
        S: 8 OK …
        C: 9 IDLE
        S: + idling
        C: DONE
        S: 9 OK …
        """,
        account=account,
        mailbox=None,
    )


async def test_it_looks_for_new_mail_from_the_next_uid_on(account: MemoryAccount) -> None:
    # The range of a star turns round: the last message is told again (RFC 3501 6.4.8), and Thunderbird expects that.
    await play(
        """
        C: 2 noop
        S: 2 OK …
        C: 3 UID fetch 4:* (FLAGS)
        S: * 3 FETCH (UID 3 FLAGS ())
        S: 3 OK …
        C: 4 UID fetch 3 (UID BODY.PEEK[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] BODY.PEEK[TEXT]<0.2048>)
        S: * 3 FETCH (UID 3 BODY[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] {2}
        S:
        S:  BODY[TEXT]<0> {11}
        S: One line.
        S: )
        S: 4 OK …
        """,
        account=account,
    )


async def test_it_reads_flags_and_tags(account: MemoryAccount) -> None:
    await play(
        """
        C: 2 uid store 2 +Flags (\\Seen)
        S: * 2 FETCH (UID 2 FLAGS (\\Seen))
        S: 2 OK …
        C: 3 uid store 2 -Flags (\\Seen)
        S: * 2 FETCH (UID 2 FLAGS ())
        S: 3 OK …
        C: 4 uid store 3 +FLAGS ($label1)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $label1)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $label1 \\*)] …
        S: * 3 FETCH (UID 3 FLAGS ($label1))
        S: 4 OK …
        """,
        account=account,
    )


async def test_it_makes_a_folder_copies_moves_deletes_and_files_what_it_sent(
    account: MemoryAccount,
) -> None:
    await play(
        """
        C: 2 create "Projekt Gr&APYA3w-e"
        S: 2 OK …
        C: 3 subscribe "Projekt Gr&APYA3w-e"
        S: 3 OK …
        C: 4 list "" "Projekt Gr&APYA3w-e"
        S: * LIST (\\HasNoChildren) "/" "Projekt Gr&APYA3w-e"
        S: 4 OK …
        C: 5 uid copy 1 "Projekt Gr&APYA3w-e"
        S: 5 OK [COPYUID … 1 1] …
        C: 6 uid move 1,3 "Projekt Gr&APYA3w-e"
        S: * OK [COPYUID … 1,3 2:3] …
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: 6 OK …
        C: 7 uid move 2 "Trash"
        S: * OK [COPYUID … 2 1] …
        S: * 1 EXPUNGE
        S: 7 OK …
        C: 8 STATUS "Projekt Gr&APYA3w-e" (UIDNEXT MESSAGES UNSEEN RECENT)
        S: * STATUS "Projekt Gr&APYA3w-e" (UIDNEXT 4 MESSAGES 3 UNSEEN 3 RECENT 3)
        S: 8 OK …
        C: 9 append "Sent" (\\Seen) {16+}
        C: Subject: x
        C:
        C: y
        S: 9 OK [APPENDUID … 1] …
        C: 10 logout
        S: * BYE …
        S: 10 OK …
        """,
        account=account,
    )


async def test_it_deletes_for_good_and_compacts(account: MemoryAccount) -> None:
    await play(
        """
        C: 2 uid store 1 +Flags (\\Seen \\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))
        S: 2 OK …
        C: 3 expunge
        S: * 1 EXPUNGE
        S: 3 OK …
        """,
        account=account,
    )


async def test_with_condstore_it_asks_for_what_changed_since_nothing(
    account: MemoryAccount,
) -> None:
    await play(
        """
        C: 2 UID fetch 1:* (FLAGS) (CHANGEDSINCE 0)
        S: * 1 FETCH (UID 1 FLAGS () MODSEQ (…))
        S: * 2 FETCH (UID 2 FLAGS () MODSEQ (…))
        S: * 3 FETCH (UID 3 FLAGS () MODSEQ (…))
        S: * OK [HIGHESTMODSEQ …] …
        S: 2 OK …
        """,
        account=account,
    )
