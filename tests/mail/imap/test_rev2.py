"""IMAP4rev2 (RFC 9051): what is otherwise than in IMAP4rev1 once it is enabled (appendix E)."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play, settled

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


async def test_names_are_utf8_and_an_ampersand_is_a_letter(account: MemoryAccount) -> None:
    """RFC 9051 5.1, A.1: no modified UTF-7 once it is enabled, in either direction."""
    talk = await speaks(account, None)
    await talk.send(f'a CREATE "{COMPOSED}"\r\nb CREATE "A&B"\r\n'.encode())
    assert {COMPOSED, "A&B"} <= {info.name for info in await account.list_mailboxes()}
    assert f'"/" "{COMPOSED}"\r\n'.encode() in await talk.send(b'c LIST "" "Gr*"\r\n')
    assert b'"/" "A&B"\r\n' in await talk.send(b'd LIST "" A&B\r\n')
    said = await talk.send(f'e STATUS "{COMPOSED}" (MESSAGES)\r\n'.encode())
    assert said.startswith(f'* STATUS "{COMPOSED}" (MESSAGES 0)'.encode())
    await talk.send(b"f NOTIFY SET (PERSONAL (MailboxName))\r\n")
    [one] = [info for info in await account.list_mailboxes() if info.name == COMPOSED]
    await account.rename_mailbox(one.mailbox_id, "Maße")
    await settled()
    assert talk.take().decode().endswith(f'"/" "Maße" ("OLDNAME" ("{COMPOSED}"))\r\n')
    await talk.end()


async def test_what_was_folded_in_is_there(account: MemoryAccount) -> None:
    """RFC 9051 E 2, 3: STATUS SIZE and DELETED, LIST with RETURN STATUS, parts decoded, all without ENABLE of more."""
    await account.store_flags(INBOX, [Uid(2)], "add", ["\\Deleted"])
    await play(
        """
        C: a ENABLE IMAP4rev2
        S: * ENABLED IMAP4rev2
        S: a OK …
        C: b STATUS INBOX (MESSAGES DELETED SIZE UNSEEN UIDNEXT UIDVALIDITY)
        S: * STATUS INBOX (MESSAGES 3 DELETED 1 SIZE … UNSEEN 3 UIDNEXT 4 UIDVALIDITY 1)
        S: b OK …
        C: c LIST (SUBSCRIBED RECURSIVEMATCH REMOTE) "" % RETURN (CHILDREN SUBSCRIBED STATUS (DELETED))
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * STATUS INBOX (DELETED 1)
        S: * LIST (\\HasNoChildren \\Subscribed \\Archive) "/" Archive
        S: * STATUS Archive (DELETED 0)
        S: * LIST (\\HasNoChildren \\Subscribed \\Drafts) "/" Drafts
        S: * STATUS Drafts (DELETED 0)
        S: * LIST (\\HasNoChildren \\Subscribed \\Junk) "/" Junk
        S: * STATUS Junk (DELETED 0)
        S: * LIST (\\HasNoChildren \\Subscribed \\Sent) "/" Sent
        S: * STATUS Sent (DELETED 0)
        S: * LIST (\\HasNoChildren \\Subscribed \\Trash) "/" Trash
        S: * STATUS Trash (DELETED 0)
        S: c OK …
        C: d NAMESPACE
        S: * NAMESPACE (("" "/")) NIL NIL
        S: d OK …
        C: e UID FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])
        S: * 1 FETCH (UID 1 BINARY[1] {11}
        S: One line.
        S:  BINARY.SIZE[1] 11)
        S: e OK …
        C: f UID MOVE 3 Archive
        S: * OK [COPYUID 2 3 1] …
        S: * 3 EXPUNGE
        S: f OK …
        C: g COPY 1 Nowhere
        S: g NO [TRYCREATE] …
        C: h UNSELECT
        S: h OK …
        """,
        account=account,
    )


async def test_it_is_named_before_and_after_the_log_in(account: MemoryAccount) -> None:
    """RFC 9051 A: beside IMAP4rev1; ENABLE changes nothing in the list (6.3.1)."""
    talk = Talk(account)
    assert b" IMAP4rev1 IMAP4rev2 " in await talk.send(b"a CAPABILITY\r\n")
    await talk.log_in()
    before = await talk.send(b"b CAPABILITY\r\n")
    assert b" IMAP4rev2" in before
    await talk.send(b"c ENABLE IMAP4rev2\r\n")
    assert await talk.send(b"b CAPABILITY\r\n") == before
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
