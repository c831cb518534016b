"""IMAP4rev2 (RFC 9051): what is otherwise than in IMAP4rev1 once it is enabled (appendix E)."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, MailboxId
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play

DECOMPOSED, COMPOSED = "Gro\u0308\u00dfe", "Gr\u00f6\u00dfe"


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await fill(account, [mail("one"), mail("two"), mail("three")])
    return account


async def speaks(account: MemoryAccount, mailbox: str | None = "INBOX") -> Talk:
    talk = await Talk(account).log_in()
    assert b"* ENABLED IMAP4rev2\r\n" in await talk.send(b"e ENABLE IMAP4rev2\r\n")
    if mailbox is not None:
        await talk.send(f"s SELECT {mailbox}\r\n".encode())
    return talk


async def test_selecting(account: MemoryAccount) -> None:
    """RFC 9051 6.3.2, E 9 to 12: LIST, and neither RECENT nor UNSEEN; CLOSED when another one was selected."""
    await play(
        """
        C: a ENABLE IMAP4rev2
        S: * ENABLED IMAP4rev2
        S: a OK …
        C: b SELECT INBOX
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] …
        S: * 3 EXISTS
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * OK [UIDVALIDITY 1] …
        S: * OK [UIDNEXT 4] …
        S: * OK [MAILBOXID (inbox)] …
        S: * OK [HIGHESTMODSEQ 4] …
        S: b OK [READ-WRITE] …
        C: c FETCH 1 FLAGS
        S: * 1 FETCH (UID 1 FLAGS ())
        S: c OK …
        C: d EXAMINE Archive
        S: * OK [CLOSED] …
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS ()] …
        S: * 0 EXISTS
        S: * LIST (\\HasNoChildren \\Subscribed \\Archive) "/" Archive
        S: * OK [UIDVALIDITY 2] …
        S: * OK [UIDNEXT 1] …
        S: * OK [MAILBOXID (archive)] …
        S: * OK [HIGHESTMODSEQ 1] …
        S: d OK [READ-ONLY] …
        """,
        account=account,
        mailbox=None,
        recent_gone=False,
    )


async def test_nothing_is_recent_and_what_is_stays_so_for_others(account: MemoryAccount) -> None:
    talk = await speaks(account)
    await fill(account, [mail()])
    assert await talk.send(b"a NOOP\r\n") == b"* 4 EXISTS\r\na OK Nothing done.\r\n"
    assert (await account.status(INBOX)).recent == 4
    await talk.end()


async def test_search_is_answered_by_esearch(account: MemoryAccount) -> None:
    """RFC 9051 6.4.4, 7.3.4, E 4."""
    await play(
        """
        C: a ENABLE IMAP4rev2
        S: * ENABLED IMAP4rev2
        S: a OK …
        C: b SEARCH SUBJECT t
        S: * ESEARCH (TAG "b") ALL 2:3
        S: b OK …
        C: c UID SEARCH UNSEEN
        S: * ESEARCH (TAG "c") UID ALL 1:3
        S: c OK …
        C: d SEARCH SUBJECT nothing
        S: * ESEARCH (TAG "d")
        S: d OK …
        C: e UID SEARCH RETURN (SAVE) SUBJECT two
        C: f FETCH $ UID
        S: e OK …
        S: * 2 FETCH (UID 2)
        S: f OK …
        C: g SEARCH CHARSET KOI8-R ALL
        S: g NO [BADCHARSET (US-ASCII UTF-8)] …
        """,
        account=account,
    )


async def test_names_are_composed_and_the_client_hears_of_it(account: MemoryAccount) -> None:
    """RFC 9051 5.1, 6.3.2, 6.3.4, 6.3.6, 6.3.9.7: a name in any form is the same mailbox in all commands."""
    talk = await speaks(account, None)
    given = DECOMPOSED

    async def say(command: str) -> str:
        return (await talk.send(command.encode() + b"\r\n")).decode()

    said = await say(f'a CREATE "{given}"')
    assert said.startswith("* LIST (\\HasNoChildren \\Subscribed) ")
    assert '("OLDNAME" (' in said
    assert COMPOSED in {info.name for info in await account.list_mailboxes()}
    assert '("OLDNAME" (' in await say(f'b SELECT "{given}"')
    assert "OLDNAME" not in await say(f'c SELECT "{COMPOSED}"')
    for command in (
        f'STATUS "{given}" (MESSAGES)',
        f'APPEND "{given}" {{8+}}\r\nA: b\r\n\r\n',
        f'UID COPY 1 "{given}"',
        f'UNSUBSCRIBE "{given}"',
        f'GETMETADATA "{given}" /shared/comment',
    ):
        assert "\r\nd OK" in "\r\n" + await say("d " + command), command
    assert "* LIST" in await say(f'e LIST "" "{given}*"')
    assert '("OLDNAME" (' in await say(f'f RENAME "{given}" Size')
    assert "OLDNAME" not in await say("g RENAME Size Great")
    await talk.end()


async def test_a_name_with_nothing_but_inferiors_is_not_deleted(account: MemoryAccount) -> None:
    """RFC 9051 6.3.5, 7.1; with mail in it, it may be, and its inferiors stay."""
    await play(
        """
        C: a CREATE foo/bar
        S: a OK …
        C: b DELETE foo
        S: b NO [HASCHILDREN] …
        C: c CREATE foo
        S: c OK …
        C: d DELETE foo
        S: d OK …
        C: e LIST "" foo*
        S: * LIST (\\Noselect \\HasChildren) "/" foo
        S: * LIST (\\HasNoChildren) "/" foo/bar
        S: e OK …
        C: f DELETE nowhere
        S: f NO [NONEXISTENT] …
        """,
        account=account,
        mailbox=None,
    )


async def test_numbers_have_63_bits(account: MemoryAccount) -> None:
    """RFC 9051 9: number64; appendix D."""
    talk = await speaks(account)
    said = await talk.send(b"a FETCH 1 BODY.PEEK[]<9223372036854775807.9223372036854775807>\r\n")
    assert said == b'* 1 FETCH (UID 1 BODY[]<9223372036854775807> "")\r\na OK Fetched.\r\n'
    said = await talk.send(b"b SEARCH SMALLER 9223372036854775807\r\n")
    assert said.startswith(b'* ESEARCH (TAG "b") ALL 1:3\r\n')
    await talk.end()


async def test_utf8_in_quoted_strings_is_taken(account: MemoryAccount) -> None:
    """RFC 9051 4.3.1."""
    await fill(account, [mail("Gr\u00f6\u00dfe")])
    talk = await speaks(account)
    said = await talk.send('a SEARCH SUBJECT "gr\u00f6\u00dfe"\r\n'.encode())
    assert said.startswith(b'* ESEARCH (TAG "a") ALL 4\r\n')
    await talk.end()


async def test_keywords_of_rfc_9051_are_kept(account: MemoryAccount) -> None:
    """RFC 9051 2.3.2."""
    talk = await speaks(account)
    flags = "$Forwarded $Junk $MDNSent $NotJunk $Phishing"
    said = await talk.send(f"a STORE 1 FLAGS ({flags})\r\n".encode())
    assert f"* 1 FETCH (UID 1 FLAGS ({flags}))".encode() in said
    await talk.end()


async def test_without_enable_it_is_rev1(account: MemoryAccount) -> None:
    """RFC 9051 A."""
    talk = await Talk(account).log_in("INBOX")
    assert await talk.send(b"a SEARCH ALL\r\n") == b"* SEARCH 1 2 3\r\na OK Searched.\r\n"
    said = await talk.send(b"b SELECT INBOX\r\n")
    assert b"RECENT" in said
    assert b"* LIST" not in said
    assert (await account.status(MailboxId("inbox"))).recent == 0
    await talk.end()
