"""FETCH: every data item, sections, partials, \\Seen, and what programs are known to break on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leap.mail.contract import (
    INBOX,
    ContentUnavailable,
    FlagOp,
    MailboxId,
    ModSeq,
    RowId,
    StorageFull,
    Stored,
    Uid,
)
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play

NESTED = (
    b"From: Alice <alice@example.test>\r\nSubject: Outer\r\nX-Twice: a\r\nX-Twice: b\r\n c\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="o"\r\n\r\npreamble\r\n'
    b"--o\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\nContent-Description: forwarded\r\n\r\n"
    b'From: Bob <bob@example.test>\r\nSubject: Inner\r\nContent-Type: multipart/alternative; boundary="i"\r\n\r\n'
    b"--i\r\nContent-Type: text/plain\r\n\r\ninner plain\r\n"
    b"--i\r\nContent-Type: text/html\r\nX-Part: yes\r\n\r\n<b>inner</b>\r\n--i--\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: Simple\r\n\r\nonly text\r\n"
    b"--o--\r\nepilogue\r\n"
)


@pytest.fixture
async def account() -> MemoryAccount:
    return MemoryAccount()


async def sections(account: MemoryAccount, *names: str) -> dict[str, bytes | None]:
    """The octets of each BODY.PEEK[name] of message 1."""
    talk = await Talk(account).log_in("INBOX")
    found: dict[str, bytes | None] = {}
    for name in names:
        said = await talk.send(f"a FETCH 1 BODY.PEEK[{name}]\r\n".encode())
        head, _, rest = said.partition(b"] " if "<" not in name else b"> ")
        assert head.startswith(b"* 1 FETCH (UID 1 BODY["), said
        if rest.startswith(b"NIL)"):
            found[name] = None
        elif rest.startswith(b'"")'):
            found[name] = b""
        else:
            size, _, octets = rest[1:].partition(b"}\r\n")
            found[name] = octets[: int(size)]
            assert octets[int(size) :].startswith(b")\r\na OK")
    await talk.end()
    return found


async def test_the_parts_of_a_nested_message(account: MemoryAccount) -> None:
    await fill(account, [NESTED])
    found = await sections(
        account, "", "HEADER", "TEXT", "1", "1.MIME", "2", "2.MIME", "2.HEADER", "2.TEXT", "2.1", "2.2"
        , "2.2.MIME", "3", "3.HEADER", "3.1", "3.TEXT", "4", "1.1", "1.HEADER", "1.TEXT", "2.3", "9.9.9"
    )  # fmt: skip
    body = NESTED.index(b"preamble")
    assert found[""] == NESTED
    assert found["HEADER"] == NESTED[:body]
    assert found["TEXT"] == NESTED[body:]
    assert found["1"] == b"first part"
    assert found["1.MIME"] == b"Content-Type: text/plain\r\n\r\n"
    assert (
        found["2.MIME"] == b"Content-Type: message/rfc822\r\nContent-Description: forwarded\r\n\r\n"
    )
    assert found["2"] is not None
    assert found["2"].startswith(b"From: Bob")
    assert found["2.HEADER"] == found["2"][: found["2"].index(b"--i")]
    assert found["2.TEXT"] == found["2"][found["2"].index(b"--i") :]
    assert found["2.1"] == b"inner plain"
    assert found["2.2"] == b"<b>inner</b>"
    assert found["2.2.MIME"] == b"Content-Type: text/html\r\nX-Part: yes\r\n\r\n"
    assert found["3"] == b"Subject: Simple\r\n\r\nonly text"
    assert found["3.HEADER"] == b"Subject: Simple\r\n\r\n"
    assert found["3.1"] == found["3.TEXT"] == b"only text"
    for absent in ("4", "1.1", "1.HEADER", "1.TEXT", "2.3", "9.9.9"):
        assert found[absent] is None, absent


async def test_a_message_without_parts_has_part_one(account: MemoryAccount) -> None:
    raw = mail(body="just this\r\n")
    await fill(account, [raw])
    found = await sections(account, "1", "1.MIME", "2", "TEXT")
    assert found["1"] == found["TEXT"] == b"just this\r\n"
    assert found["1.MIME"] == raw[: -len(b"just this\r\n")]
    assert found["2"] is None


async def test_header_fields(account: MemoryAccount) -> None:
    await fill(account, [NESTED])
    found = await sections(
        account,
        "HEADER.FIELDS (subject X-TWICE)",
        "HEADER.FIELDS (absent)",
        "HEADER.FIELDS.NOT (From X-Twice Mime-Version Content-Type)",
        "2.HEADER.FIELDS (Subject)",
        'HEADER.FIELDS ("Subject")',
    )
    values = list(found.values())
    assert values[0] == b"Subject: Outer\r\nX-Twice: a\r\nX-Twice: b\r\n c\r\n\r\n"
    assert values[1] == b"\r\n"
    assert values[2] == b"Subject: Outer\r\n\r\n"
    assert values[3] == b"Subject: Inner\r\n\r\n"
    assert values[4] == b"Subject: Outer\r\n\r\n"


async def test_partials(account: MemoryAccount) -> None:
    await fill(account, [NESTED])
    talk = await Talk(account).log_in("INBOX")
    size = len(NESTED)
    said = await talk.send(b"a UID FETCH 1 BODY.PEEK[]<0.393216>\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[]<0> {%d}\r\n%s)\r\na OK Fetched.\r\n" % (size, NESTED)
    said = await talk.send(b"a UID FETCH 1 BODY.PEEK[]<5.10>\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[]<5> {10}\r\n%s)\r\na OK Fetched.\r\n" % NESTED[5:15]
    said = await talk.send(b"a UID FETCH 1 BODY.PEEK[]<%d.393216>\r\n" % size)
    assert said == b'* 1 FETCH (UID 1 BODY[]<%d> "")\r\na OK Fetched.\r\n' % size
    said = await talk.send(b"a UID FETCH 1 BODY.PEEK[1]<6.100>\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[1]<6> {4}\r\npart)\r\na OK Fetched.\r\n"
    said = await talk.send(b"a UID FETCH 1 BODY.PEEK[9]<0.100>\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[9]<0> NIL)\r\na OK Fetched.\r\n"
    for wrong in (b"<0.0>", b"<5>", b"<.5>", b"<0.99999999999999999999>"):
        said = await talk.send(b"a UID FETCH 1 BODY.PEEK[]" + wrong + b"\r\n")
        assert said.startswith(b"a BAD "), wrong
    await talk.end()


async def test_simple_items_and_macros(account: MemoryAccount) -> None:
    await fill(account, [mail()], flags=["\\Flagged"])
    size = len(mail())
    envelope = (
        'ENVELOPE ("Mon, 02 Nov 2026 10:00:00 +0100" "Hello" (("Alice" NIL "alice" "example.test")) '
        '(("Alice" NIL "alice" "example.test")) (("Alice" NIL "alice" "example.test")) '
        '(("Bob" NIL "bob" "example.test")) NIL NIL NIL "<11@example.test>")'
    )
    fast = f'FLAGS (\\Flagged) INTERNALDATE "26-Oct-2026 08:33:20 +0100" RFC822.SIZE {size}'
    body = '("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 11 1'
    await play(
        f"""
        C: a FETCH 1 FAST
        S: * 1 FETCH (UID 1 {fast})
        S: a OK Fetched.
        C: b FETCH 1 ALL
        S: * 1 FETCH (UID 1 {fast} {envelope})
        S: b OK Fetched.
        C: c FETCH 1 FULL
        S: * 1 FETCH (UID 1 {fast} {envelope} BODY {body}))
        S: c OK Fetched.
        C: d FETCH * (BODYSTRUCTURE UID)
        S: * 1 FETCH (UID 1 BODYSTRUCTURE {body} NIL NIL NIL NIL))
        S: d OK Fetched.
        C: e UID FETCH 1:* (UID FLAGS)
        S: * 1 FETCH (UID 1 FLAGS (\\Flagged))
        S: e OK Fetched.
        C: f FETCH 1 (RFC822.SIZE RFC822.SIZE UID)
        S: * 1 FETCH (UID 1 RFC822.SIZE {size})
        S: f OK Fetched.
        """,
        account=account,
    )


async def test_old_items_give_the_same_octets(account: MemoryAccount) -> None:
    raw = mail(body="one\r\ntwo\r\n")
    await fill(account, [raw])
    talk = await Talk(account).log_in("INBOX")
    header = raw[: raw.index(b"\r\n\r\n") + 4]

    async def fetched(item: bytes) -> bytes:
        return await talk.send(b"a FETCH 1 " + item + b"\r\n")

    said = await fetched(b"RFC822.HEADER")
    assert said == b"* 1 FETCH (UID 1 RFC822.HEADER {%d}\r\n%s)\r\na OK Fetched.\r\n" % (
        len(header),
        header,
    )
    said = await fetched(b"RFC822.PEEK")
    assert said == b"* 1 FETCH (UID 1 RFC822 {%d}\r\n%s)\r\na OK Fetched.\r\n" % (len(raw), raw)
    assert "\\Seen" not in (await account.rows(INBOX))[0].flags
    said = await fetched(b"RFC822.TEXT")
    assert b"RFC822.TEXT {10}\r\none\r\ntwo\r\n)" in said
    assert "\\Seen" in (await account.rows(INBOX))[0].flags
    assert b"RFC822 {" in await fetched(b"RFC822")
    await talk.end()


async def test_seen_is_set_by_body_and_not_by_peek_nor_by_examine(account: MemoryAccount) -> None:
    await fill(account, [mail(body="x"), mail(body="y")])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a FETCH 1 BODY.PEEK[TEXT]
        S: * 1 FETCH (UID 1 BODY[TEXT] {1}
        S: x)
        S: a OK …
        C: b FETCH 1:2 BODY[TEXT]
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) BODY[TEXT] {1}
        S: x)
        S: * 2 FETCH (UID 2 FLAGS (\\Seen) BODY[TEXT] {1}
        S: y)
        S: b OK …
        C: c FETCH 1 BODY[TEXT]
        S: * 1 FETCH (UID 1 BODY[TEXT] {1}
        S: x)
        S: c OK …
        C: d STORE 1 FLAGS.SILENT ()
        S: d OK …
        C2: a NOOP
        S2: * 2 FETCH (UID 2 FLAGS (\\Seen))
        S2: a OK …
        C: e EXAMINE INBOX
        S: * OK [CLOSED] …
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 2 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: e OK …
        C: f FETCH 1 (FLAGS BODY[TEXT])
        S: * 1 FETCH (UID 1 FLAGS () BODY[TEXT] {1}
        S: x)
        S: f OK …
        """,
        account=account,
    )


async def test_sets_of_numbers_and_uids(account: MemoryAccount) -> None:
    await fill(account, [mail()] * 5)
    await account.store_flags(INBOX, [2], "add", ["\\Deleted"])  # type: ignore[list-item]
    await account.expunge(INBOX)
    await play(
        """
        C: a FETCH 2:3,1 UID
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 3)
        S: * 3 FETCH (UID 4)
        S: a OK …
        C: b UID FETCH 2:3,77 UID
        S: * 2 FETCH (UID 3)
        S: b OK …
        C: c UID FETCH 100:* UID
        S: * 4 FETCH (UID 5)
        S: c OK …
        C: d UID FETCH 2 UID
        S: d OK …
        C: e FETCH 5 UID
        S: e BAD There is no message with that number.
        C: f FETCH *:3 UID
        S: * 3 FETCH (UID 4)
        S: * 4 FETCH (UID 5)
        S: f OK …
        C: g FETCH 0 UID
        S: g BAD …
        C: h FETCH 4294967296 UID
        S: h BAD …
        """,
        account=account,
    )


async def test_an_empty_mailbox_has_nothing_to_fetch() -> None:
    await play(
        """
        C: a FETCH 1:* FLAGS
        S: a OK …
        C: b UID FETCH 1:* FLAGS
        S: b OK …
        C: c FETCH 1 FLAGS
        S: c BAD …
        """
    )


@pytest.mark.parametrize(
    "item",
    [
        "", "()", "(FLAGS", "BODY[", "BODY[1.]", "BODY[.1]", "BODY[MIME]", "BODY[0]", "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]", "BODY[1.FAST]", "BODY.PEEK", "NOTHING", "(ALL FLAGS)", "BODY[TEXT.1]", "FLAGS FLAGS",
    ],
)  # fmt: skip
async def test_malformed_items_are_refused(account: MemoryAccount, item: str) -> None:
    await fill(account, [mail()])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(f"a FETCH 1 {item}\r\nb NOOP\r\n".encode())
    assert said.startswith(b"a BAD ")
    assert said.endswith(b"b OK Nothing done.\r\n")
    await talk.end()


async def test_large_messages_are_written_in_pieces(account: MemoryAccount) -> None:
    raw = mail(body="0123456789abcde\n" * 200_000)
    await fill(account, [raw, mail()])
    talk = await Talk(account).log_in("INBOX")
    writes: list[int] = []
    write = talk.write

    def noting(data: bytes) -> None:
        writes.append(len(data))
        write(data)

    talk.write = noting  # type: ignore[method-assign]
    said = await talk.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\na OK Fetched.\r\n" % (len(raw), raw)
    assert max(writes) <= (1 << 20) + 100
    said = await talk.send(b"a FETCH 1 BODY.PEEK[TEXT]<3000000.4>\r\n")
    assert said == b"* 1 FETCH (UID 1 BODY[TEXT]<3000000> {4}\r\n0123)\r\na OK Fetched.\r\n"
    await talk.end()


class Unreliable(MemoryAccount):
    """Content of one message lies at a provider which cannot be reached, from some octet on."""

    missing: RowId | None = None
    from_octet = 0

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
        if row_id == self.missing and start >= self.from_octet:
            raise ContentUnavailable("The content is still at the provider.")
        return await super().read(row_id, start, length)


async def test_content_out_of_reach_is_said_and_leaves_the_mail_unseen() -> None:
    account = Unreliable()
    await fill(account, [mail(body="a"), mail(body="b")])
    await account.claim_recent(INBOX)
    account.missing = (await account.rows(INBOX))[0].row_id
    await play(
        """
        C: a FETCH 1:2 BODY[TEXT]
        S: * 2 FETCH (UID 2 FLAGS (\\Seen) BODY[TEXT] {1}
        S: b)
        S: a NO [UNAVAILABLE] The content is still at the provider.
        """,
        account=account,
    )
    assert [row.flags for row in await account.rows(INBOX)] == [(), ("\\Seen",)]


async def test_content_lost_in_the_middle_ends_the_connection() -> None:
    account = Unreliable()
    await fill(account, [mail(body="x" * 3_000_000)])
    account.missing = (await account.rows(INBOX))[0].row_id
    account.from_octet = 2_000_000
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a FETCH 1 BODY.PEEK[]\r\nb NOOP\r\n")
    assert talk.closed
    assert b"a OK" not in said
    assert b"BYE" not in said, "words inside a literal would become part of the mail"
    await talk.end()


async def test_mail_can_be_read_when_seen_cannot_be_kept() -> None:
    class Full(MemoryAccount):
        async def store_flags(
            self,
            mailbox_id: MailboxId,
            uids: Sequence[Uid],
            op: FlagOp,
            flags: Sequence[str],
            unchanged_since: ModSeq | None = None,
        ) -> Stored:
            raise StorageFull("The disk is full.")

    account = Full()
    await fill(account, [mail(body="x")])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a FETCH 1 BODY[TEXT]
        S: * 1 FETCH (UID 1 BODY[TEXT] {1}
        S: x)
        S: a OK Fetched.
        C: b STORE 1 +FLAGS (\\Seen)
        S: b NO [OVERQUOTA] The disk is full.
        """,
        account=account,
    )


async def test_slices_of_a_part_read_the_message_once() -> None:
    class Counting(MemoryAccount):
        reads = 0

        async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
            self.reads += 1
            return await super().read(row_id, start, length)

    account = Counting()
    await fill(account, [NESTED, mail(body="0123456789")])
    talk = await Talk(account).log_in("INBOX")
    slices = b""
    for start in range(0, 12, 4):
        said = await talk.send(b"a FETCH 1 BODY.PEEK[1]<%d.4>\r\n" % start)
        slices += said.partition(b"\r\n")[2][: min(4, 10 - start)]
    assert slices == b"first part"
    assert account.reads == 1
    assert b"{10}\r\n0123456789)" in await talk.send(b"a FETCH 2 BODY.PEEK[1]\r\n")
    await talk.end()
