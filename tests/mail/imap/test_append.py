"""APPEND: octets, flags, dates, limits, and who hears of it."""

from __future__ import annotations

from dataclasses import replace

from leap.mail.contract import INBOX
from leap.mail.imap.wire.limits import DEFAULT_LIMITS
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, mail, play

SMALL = replace(DEFAULT_LIMITS, message=1_000, messages_together=1_500)


async def test_append_with_flags_and_date() -> None:
    account = MemoryAccount(now=lambda: 1_800_000_000)
    await play(
        """
        C: a APPEND INBOX (\\Seen $Work \\Recent) "02-Nov-2026 09:00:00 -0330" {11+}
        C: A: b
        C:
        C: xyz
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * FLAGS (…$Work)
        S: * OK [PERMANENTFLAGS (…)] Flags kept
        S: a OK [APPENDUID 1 1] Appended.
        C: b FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)
        S: * 1 FETCH (UID 1 FLAGS ($Work \\Seen \\Recent) INTERNALDATE "02-Nov-2026 09:00:00 -0330" RFC822.SIZE 11)
        S: b OK …
        C: c APPEND Sent {1+}
        C: x
        S: c OK [APPENDUID 5 1] Appended.
        C: d APPEND "Not here" {1+}
        C: x
        S: d NO [TRYCREATE] There is no such mailbox.
        C: e APPEND INBOX {0+}
        C:
        S: e NO [CANNOT] …
        C: f APPEND INBOX (\\Nonsense) {1+}
        C: x
        S: f BAD …
        C: g APPEND INBOX "32-Nov-2026 09:00:00 +0000" {1+}
        C: x
        S: g BAD …
        C: h APPEND INBOX
        S: h BAD …
        C: i APPEND INBOX "hello"
        S: i BAD …
        """,
        account=account,
    )


async def test_the_limit_is_told_for_each_mailbox() -> None:
    """RFC 7889 3.1: the same for all, which the capability says too."""
    await play(
        """
        C: a STATUS Sent (APPENDLIMIT MESSAGES)
        S: * STATUS Sent (APPENDLIMIT 1000 MESSAGES 0)
        S: a OK …
        C: b LIST "" Sent RETURN (STATUS (APPENDLIMIT))
        S: * LIST …
        S: * STATUS Sent (APPENDLIMIT 1000)
        S: b OK …
        C: c CAPABILITY
        S: * CAPABILITY … APPENDLIMIT=1000
        S: c OK …
        """,
        limits=SMALL,
        mailbox=None,
    )


async def test_a_synchronising_literal_is_invited() -> None:
    account = MemoryAccount()
    talk = await Talk(account).log_in()
    raw = b"NUL \x00, bare CR \r and eight bits \xff\r\n"
    assert await talk.send(b"a APPEND INBOX {%d}\r\n" % len(raw)) == b"+ OK\r\n"
    assert await talk.send(raw[:10]) == b""
    assert await talk.send(raw[10:]) == b""
    assert await talk.send(b"\r\n") == b"a OK [APPENDUID 1 1] Appended.\r\n"
    [row] = await account.rows(INBOX)
    assert await account.read(row.row_id) == raw
    await talk.end()


async def test_too_large_a_message_is_refused_before_it_is_sent() -> None:
    talk = await Talk(limits=SMALL).log_in()
    said = await talk.send(b"a APPEND INBOX {1001}\r\n")
    assert said.startswith(b"a NO [TOOBIG] ")
    assert await talk.send(b"b NOOP\r\n") == b"b OK Nothing done.\r\n"
    await talk.end()


async def test_too_large_a_message_that_comes_unasked_is_dropped_piece_by_piece() -> None:
    talk = await Talk(limits=SMALL).log_in()
    assert await talk.send(b"a APPEND INBOX (\\Seen) {9000000+}\r\n") == b""
    for _ in range(9):
        assert await talk.send(b"x" * 1_000_000) == b""
        assert talk.reader.held < 2_000
    said = await talk.send(b"\r\nb NOOP\r\n")
    assert said.startswith(b"a NO [TOOBIG] ")
    assert said.endswith(b"\r\nb OK Nothing done.\r\n")
    assert await talk.account.rows(INBOX) == []
    await talk.end()


async def test_several_messages_in_one_append() -> None:
    account = MemoryAccount()
    talk = await Talk(account).log_in()
    said = await talk.send(
        b"a APPEND INBOX (\\Seen) {1+}\r\nx {2+}\r\nyy (\\Draft) {3+}\r\nzzz\r\n"
    )
    assert said == b"a OK [APPENDUID 1 1:3] Appended.\r\n"
    assert [(row.size, row.flags) for row in await account.rows(INBOX)] == [
        (1, ("\\Seen",)), (2, ()), (3, ("\\Draft",)),
    ]  # fmt: skip
    said = await talk.send(b"a APPEND INBOX {1+}\r\nx {0+}\r\n\r\n")
    assert said.startswith(b"a NO ")
    assert len(await account.rows(INBOX)) == 3
    await talk.end()


async def test_several_messages_too_large_together_are_refused_at_the_literal_that_is_too_much() -> (
    None
):
    talk = await Talk(limits=SMALL).log_in()
    assert await talk.send(b"a APPEND INBOX {900}\r\n") == b"+ OK\r\n"
    said = await talk.send(b"x" * 900 + b" {900}\r\n")
    assert said.startswith(b"a NO [TOOBIG]")
    assert await talk.send(b"b NOOP\r\n") == b"b OK Nothing done.\r\n"
    await talk.end()


async def test_a_name_is_not_allowed_to_be_as_large_as_a_message() -> None:
    talk = await Talk().log_in()
    assert (await talk.send(b"a APPEND {100000}\r\n")).startswith(b"a NO [LIMIT]")
    await talk.end()


async def test_everyone_hears_of_new_mail() -> None:
    account = MemoryAccount()
    raw = mail().decode()
    await play(
        f"""
        C: a APPEND INBOX {{{len(raw)}+}}
        C: {raw}
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK …
        C2: a FETCH 1 FLAGS
        S2: a BAD There is no message with that number.
        C2: b NOOP
        S2: b OK …
        """.replace(raw, raw.replace("\r\n", "\n        C: ")).replace(
            "S2: a BAD There", "S2: * 1 EXISTS\n        S2: * 0 RECENT\n        S2: a BAD There"
        ),
        account=account,
    )
