"""SEARCHRES (RFC 5182): what a search found is kept and called "$"."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, ContentUnavailable, MailboxId, SearchedText, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    """The uids 11 to 18 have the numbers 1 to 8; 2, 3, 5 and 8 are flagged."""
    account = MemoryAccount()
    await fill(account, [mail()] * 10, flags=["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail("one"), mail("two"), mail("three"), mail("four")] * 2)
    await account.store_flags(INBOX, [Uid(n) for n in (12, 13, 15, 18)], "add", ["\\Flagged"])
    return account


async def test_what_was_found_is_used_by_the_next_command(account: MemoryAccount) -> None:
    """RFC 5182 2.2, examples 1 to 3: in the same step, for numbers and uids alike."""
    await play(
        """
        C: a SEARCH RETURN (SAVE) FLAGGED
        C: b FETCH $ (UID)
        S: a OK Searched.
        S: * 2 FETCH (UID 12)
        S: * 3 FETCH (UID 13)
        S: * 5 FETCH (UID 15)
        S: * 8 FETCH (UID 18)
        S: b OK …
        C: c UID FETCH $ (FLAGS)
        S: * 2 FETCH (UID 12 FLAGS (\\Flagged))
        S: * 3 FETCH (UID 13 FLAGS (\\Flagged))
        S: * 5 FETCH (UID 15 FLAGS (\\Flagged))
        S: * 8 FETCH (UID 18 FLAGS (\\Flagged))
        S: c OK …
        C: d UID SEARCH RETURN (SAVE) UID $ SUBJECT two
        C: e SEARCH $
        C: f UID SEARCH UID $
        S: d OK …
        S: * SEARCH 2
        S: e OK …
        S: * SEARCH 12
        S: f OK …
        C: g SEARCH NOT $
        S: * SEARCH 1 3 4 5 6 7 8
        S: g OK …
        C: h SEARCH (OR $ 4 UNSEEN)
        S: * SEARCH 2 4
        S: h OK …
        """,
        account=account,
    )


async def test_every_command_with_a_set_takes_it(account: MemoryAccount) -> None:
    await play(
        """
        C: a SEARCH RETURN (SAVE) 2:3
        S: a OK …
        C: b STORE $ +FLAGS.SILENT (\\Deleted)
        S: b OK …
        C: c COPY $ Archive
        S: c OK [COPYUID 2 12:13 1:2] Copied.
        C: d UID STORE $ +FLAGS (\\Seen)
        S: * 2 FETCH (UID 12 FLAGS (\\Deleted \\Flagged \\Seen))
        S: * 3 FETCH (UID 13 FLAGS (\\Deleted \\Flagged \\Seen))
        S: d OK …
        C: e UID COPY $ Archive
        S: e OK [COPYUID 2 12:13 3:4] Copied.
        C: f STORE 1 +FLAGS.SILENT (\\Deleted)
        S: f OK …
        C: g UID EXPUNGE $
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: g OK …
        C: h FETCH $ (UID)
        S: h OK …
        C: i SEARCH RETURN (SAVE) UID 14:15
        S: i OK …
        C: j UID MOVE $ Archive
        S: * OK [COPYUID 2 14:15 5:6] Moved
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: j OK …
        C: k MOVE $ Archive
        S: k OK There was nothing to move.
        C: l STORE $ FLAGS (\\Seen)
        S: l OK …
        C: m FETCH 1:* (UID)
        S: * 1 FETCH (UID 11)
        S: * 2 FETCH (UID 16)
        S: * 3 FETCH (UID 17)
        S: * 4 FETCH (UID 18)
        S: m OK …
        """,
        account=account,
    )
    assert len(await account.rows(MailboxId("archive"))) == 6


@pytest.mark.parametrize(
    ("options", "answer", "kept"),
    [
        ("SAVE", "", "2:3,5,8"),
        ("SAVE MIN", " MIN 2", "2"),
        ("SAVE MAX", " MAX 8", "8"),
        ("MAX SAVE MIN", " MIN 2 MAX 8", "2,8"),
        ("SAVE COUNT", " COUNT 4", "2:3,5,8"),
        ("SAVE MIN COUNT", " MIN 2 COUNT 4", "2:3,5,8"),
        ("ALL SAVE MIN", " MIN 2 ALL 2:3,5,8", "2:3,5,8"),
    ],
)
async def test_what_is_kept_depends_on_what_is_answered(
    account: MemoryAccount, options: str, answer: str, kept: str
) -> None:
    """RFC 5182 2.4, and 2.3 with its examples 4 to 7; SAVE alone is answered by nothing."""
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(f"a SEARCH RETURN ({options}) FLAGGED\r\n".encode())
    untagged = f'* ESEARCH (TAG "a"){answer}\r\n' if answer else ""
    assert said.decode() == untagged + "a OK Searched.\r\n"
    said = await talk.send(b"b SEARCH RETURN (ALL) $\r\n")
    assert said.startswith(f'* ESEARCH (TAG "b") ALL {kept}\r\n'.encode())
    await talk.end()


async def test_a_search_that_finds_nothing_keeps_nothing(account: MemoryAccount) -> None:
    await play(
        """
        C: a SEARCH RETURN (SAVE) FLAGGED
        S: a OK …
        C: b SEARCH RETURN (SAVE MIN) ANSWERED
        S: * ESEARCH (TAG "b")
        S: b OK …
        C: c FETCH $ UID
        S: c OK …
        C: d COPY $ Archive
        S: d OK There was nothing to copy.
        """,
        account=account,
    )


async def test_nothing_is_kept_at_first_nor_after_the_mailbox_was_left(
    account: MemoryAccount,
) -> None:
    """RFC 5182 2.1."""
    talk = await Talk(account).log_in("INBOX")
    assert await talk.send(b"a FETCH $ UID\r\n") == b"a OK Fetched.\r\n"
    for leaving in (b"SELECT INBOX", b"EXAMINE INBOX", b"UNSELECT\r\nx SELECT INBOX"):
        await talk.send(b"b SEARCH RETURN (SAVE) ALL\r\nc " + leaving + b"\r\n")
        assert await talk.send(b"d FETCH $ UID\r\n") == b"d OK Fetched.\r\n"
    await talk.send(b"e SEARCH RETURN (SAVE) 1\r\n")
    assert b"NONEXISTENT" in await talk.send(b"f SELECT Nowhere\r\ng SELECT INBOX\r\n")
    assert await talk.send(b"h FETCH $ UID\r\n") == b"h OK Fetched.\r\n"
    await talk.end()


async def test_bad_leaves_what_was_kept_and_no_drops_it(account: MemoryAccount) -> None:
    """RFC 5182 2.1."""

    class Offline(MemoryAccount):
        offline = False

        async def search_text(
            self, mailbox_id: MailboxId, uids: object, where: SearchedText, needle: str
        ) -> list[Uid]:
            raise ContentUnavailable("The provider cannot be reached.")

    account = Offline()
    await fill(account, [mail()] * 3)
    await account.claim_recent(INBOX)
    talk = await Talk(account).log_in("INBOX")
    for failing, kept in (
        (b"SEARCH RETURN (SAVE) 0", True),
        (b"SEARCH RETURN (SAVE) NONSENSE", True),
        (b"SEARCH SEEN", True),
        (b"SEARCH RETURN (MIN) SEEN", True),
        (b"SEARCH RETURN (SAVE) BODY word", False),
        (b"SEARCH RETURN (SAVE) CHARSET KOI8-R SEEN", False),
    ):
        await talk.send(b"a SEARCH RETURN (SAVE) 2\r\nb " + failing + b"\r\n")
        said = await talk.send(b"c FETCH $ UID\r\n")
        assert said == (b"* 2 FETCH (UID 2)\r\n" if kept else b"") + b"c OK Fetched.\r\n"
    await talk.end()


async def test_expunged_messages_drop_out(account: MemoryAccount) -> None:
    """RFC 5182 2.1: also those whose EXPUNGE is held back."""
    await play(
        """
        C: a SEARCH RETURN (SAVE) FLAGGED
        S: a OK …
        C2: a UID STORE 12,15 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 5 EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK …
        C: b FETCH 1 UID
        S: * 1 FETCH (UID 11)
        S: b OK …
        C: c FETCH $ (UID)
        S: * 3 FETCH (UID 13)
        S: * 8 FETCH (UID 18)
        S: c OK …
        C: d COPY $ Archive
        S: * 5 EXPUNGE
        S: * 2 EXPUNGE
        S: d OK [COPYUID 2 13,18 1:2] Copied.
        C: e FETCH $ (UID)
        S: * 2 FETCH (UID 13)
        S: * 6 FETCH (UID 18)
        S: e OK …
        """,
        account=account,
    )


async def test_it_stands_alone(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in("INBOX")
    for command in (
        b"FETCH 1,$ UID",
        b"FETCH $,1 UID",
        b"FETCH $:* UID",
        b"SEARCH 1,$",
        b"FETCH $ $",
    ):
        assert (await talk.send(b"a " + command + b"\r\n")).startswith(b"a BAD "), command
    await talk.end()


async def test_it_goes_together_with_modseqs(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 21] Highest
        S: a OK …
        C: b SEARCH RETURN (SAVE MIN) MODSEQ 21
        S: * ESEARCH (TAG "b") MIN 2 MODSEQ 21
        S: b OK …
        C: c UID FETCH $ (UID) (CHANGEDSINCE 5 VANISHED)
        S: * 2 FETCH (UID 12 MODSEQ (21))
        S: c OK …
        C: d STORE $ (UNCHANGEDSINCE 20) +FLAGS (\\Seen)
        S: d OK [MODIFIED 2] …
        C: e UID STORE $ (UNCHANGEDSINCE 21) FLAGS (\\Seen)
        S: * 2 FETCH (UID 12 FLAGS (\\Seen) MODSEQ (22))
        S: e OK …
        """,
        account=account,
    )
