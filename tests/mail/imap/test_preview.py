"""PREVIEW (RFC 8970): the first words of a message, as a list of messages shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leap.mail.contract import INBOX, ContentUnavailable, MessageMetadata, RowId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


async def test_the_first_words_come_as_a_string() -> None:
    """RFC 8970 3 and its examples; an empty message has an empty preview, and \\Seen is not set."""
    account = MemoryAccount()
    utf8 = "Content-Type: text/plain; charset=utf-8\r\n"
    await fill(
        account,
        [mail(body='Say "this"\r\nto all.\r\n'), mail(body=""), mail(body="Grüße\r\n", extra=utf8)],
    )
    await account.claim_recent(INBOX)
    await play(
        """
        C: a FETCH 1 (PREVIEW)
        S: * 1 FETCH (UID 1 PREVIEW "Say \\"this\\" to all.")
        S: a OK …
        C: b FETCH 1:3 (FLAGS PREVIEW (LAZY) RFC822.SIZE)
        S: * 1 FETCH (UID 1 FLAGS () PREVIEW "Say \\"this\\" to all." RFC822.SIZE …
        S: * 2 FETCH (UID 2 FLAGS () PREVIEW "" RFC822.SIZE …
        S: * 3 FETCH (UID 3 FLAGS () PREVIEW {7}
        S: Grüße RFC822.SIZE …
        S: b OK …
        C: c UID FETCH 2 PREVIEW (CHANGEDSINCE 1)
        S: * 2 FETCH (UID 2 PREVIEW "" MODSEQ (3))
        S: * OK [HIGHESTMODSEQ 4] …
        S: c OK …
        C: d UID FETCH 2 preview (lazy) (CHANGEDSINCE 1)
        S: * 2 FETCH (UID 2 PREVIEW "" MODSEQ (3))
        S: d OK …
        C: e FETCH 2 PREVIEW (EAGER)
        S: e BAD …
        C: f FETCH 2 (PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT)])
        S: * 2 FETCH (UID 2 PREVIEW "" BODY[HEADER.FIELDS (SUBJECT)] {18}
        S: Subject: Hello
        S:
        S: )
        S: f OK …
        """,
        account=account,
    )


async def test_a_preview_has_at_most_200_characters() -> None:
    account = MemoryAccount()
    await fill(account, [mail(body="word " * 200)])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a FETCH 1 PREVIEW\r\n")
    assert len(said.split(b'"')[1]) <= 200
    await talk.end()


class Away(MemoryAccount):
    """The second message is still at the provider: asking for it waits, or fails."""

    waits = False

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        if any(row.row_id in row_ids for row in await self.rows(INBOX) if row.uid == Uid(2)):
            if self.waits:
                await asyncio.Event().wait()
            raise ContentUnavailable("The provider cannot be reached.")
        return await super().metadata(row_ids)


async def test_a_lazy_client_gets_nil_for_what_is_not_at_hand() -> None:
    """RFC 8970 3.1."""
    for waits in (False, True):
        account = Away()
        account.waits = waits
        await fill(account, [mail(body="x"), mail(body="y")])
        talk = await Talk(account).log_in("INBOX")
        said = await talk.send(b"a FETCH 2 (PREVIEW (LAZY))\r\nb FETCH 1 (PREVIEW (LAZY))\r\n")
        assert said == (
            b"* 2 FETCH (UID 2 PREVIEW NIL)\r\na OK Fetched.\r\n"
            b'* 1 FETCH (UID 1 PREVIEW "x")\r\nb OK Fetched.\r\n'
        )
        await talk.end()


async def test_who_is_not_lazy_is_told_that_it_cannot_be_had() -> None:
    account = Away()
    await fill(account, [mail(body="x"), mail(body="y")])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a FETCH 1:2 (PREVIEW)\r\n")
    assert said.startswith(b'* 1 FETCH (UID 1 PREVIEW "x")\r\na NO [UNAVAILABLE] ')
    await talk.end()
