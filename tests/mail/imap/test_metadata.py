"""METADATA (RFC 5464): annotations of mailboxes and of the server."""

from __future__ import annotations

import pytest

from leap.mail.annotations.rules import MAX_ENTRIES
from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, play


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await account.annotate(None, {"/shared/comment": b"Shared comment"})
    await account.annotate(
        INBOX,
        {
            "/private/comment": b"My own comment",
            "/shared/comment": b"It is sunny outside!" + b"x" * 2179,
            "/private/filters/values/small": b"SMALLER 5000",
            "/private/filters/values/boss": b'FROM "boss@example.com"',
            "/private/filters/values/boss/deep": b"1",
        },
    )
    return account


async def test_entries_of_the_server_and_of_mailboxes(account: MemoryAccount) -> None:
    """RFC 5464 4.2 and 4.4.1, with their examples; an entry without value is NIL."""
    await play(
        """
        C: a GETMETADATA "" /shared/comment
        S: * METADATA "" (/shared/comment "Shared comment")
        S: a OK …
        C: b GETMETADATA "INBOX" /private/comment
        S: * METADATA INBOX (/private/comment "My own comment")
        S: b OK …
        C: c GETMETADATA INBOX (/private/COMMENT /private/nothing)
        S: * METADATA INBOX (/private/comment "My own comment" /private/nothing NIL)
        S: c OK …
        C: d GETMETADATA "" /shared/comment /shared/admin
        S: * METADATA "" (/shared/comment "Shared comment" /shared/admin NIL)
        S: d OK …
        C: e GETMETADATA Nowhere /shared/comment
        S: e NO [NONEXISTENT] …
        """,
        account=account,
        mailbox=None,
    )


async def test_long_values_are_left_out_when_asked(account: MemoryAccount) -> None:
    """RFC 5464 4.2.1; the options stand before the mailbox or, as in its examples, behind it."""
    await play(
        """
        C: a GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)
        S: * METADATA INBOX (/private/comment "My own comment")
        S: a OK [METADATA LONGENTRIES 2199] …
        C: b GETMETADATA (MAXSIZE 13) INBOX (/private/comment)
        S: b OK [METADATA LONGENTRIES 14] …
        C: c GETMETADATA (MAXSIZE 14) INBOX /private/comment
        S: * METADATA INBOX (/private/comment "My own comment")
        S: c OK Those are the annotations.
        """,
        account=account,
        mailbox=None,
    )


async def test_what_lies_below(account: MemoryAccount) -> None:
    """RFC 5464 4.2.2."""
    await play(
        """
        C: a GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)
        S: * METADATA INBOX (/private/filters/values/boss "FROM \\"boss@example.com\\"" …/small "SMALLER 5000")
        S: a OK …
        C: b GETMETADATA (DEPTH infinity MAXSIZE 12) INBOX /private
        S: * METADATA INBOX (/private/filters/values/boss/deep "1" /private/filters/values/small "SMALLER 5000")
        S: b OK [METADATA LONGENTRIES 23] …
        C: c GETMETADATA (DEPTH 0) INBOX /private/filters
        S: * METADATA INBOX (/private/filters NIL)
        S: c OK …
        C: d GETMETADATA (DEPTH 1) INBOX /private/nothing
        S: d OK …
        """,
        account=account,
        mailbox=None,
    )


async def test_setting_and_removing(account: MemoryAccount) -> None:
    """RFC 5464 4.3 and its examples, also binary values and names that are no ASCII."""
    await play(
        """
        C: a SETMETADATA INBOX (/private/comment {35+}
        C: My new comment across
        C: two lines.
        C: )
        S: a OK …
        C: b GETMETADATA INBOX /private/comment
        S: * METADATA INBOX (/private/comment {35}
        S: My new comment across
        S: two lines.
        S: )
        S: b OK …
        """,
        account=account,
        mailbox=None,
    )
    await play(
        """
        C: a SETMETADATA INBOX (/private/comment NIL /shared/comment "This one is for you!")
        S: a OK …
        C: b GETMETADATA INBOX (/private/comment /shared/comment)
        S: * METADATA INBOX (/private/comment NIL /shared/comment "This one is for you!")
        S: b OK …
        C: c CREATE "Gr&APYA3w-e"
        S: c OK …
        C: d SETMETADATA "Gr&APYA3w-e" (/Shared/Vendor/Example/A "" /shared/vendor/example/b ~{3+}
        C: 123)
        S: d OK …
        C: e GETMETADATA (DEPTH infinity) "Gr&APYA3w-e" /shared
        S: * METADATA "Gr&APYA3w-e" (/shared/vendor/example/a "" /shared/vendor/example/b "123")
        S: e OK …
        """,
        account=account,
        mailbox=None,
    )
    one = await Talk(account).log_in()
    await one.send(b"a SETMETADATA INBOX (/shared/comment ~{3+}\r\n\x00\xff\x01)\r\n")
    said = await one.send(b"b GETMETADATA INBOX /shared/comment\r\n")
    assert said.startswith(b"* METADATA INBOX (/shared/comment ~{3}\r\n\x00\xff\x01)\r\n")
    await one.end()


async def test_limits_change_nothing(account: MemoryAccount) -> None:
    """RFC 5464 4.3: all or none."""
    before = await account.annotations(INBOX)
    talk = await Talk(account).log_in()
    large = b"x" * 65_537
    said = await talk.send(
        b"a SETMETADATA INBOX (/shared/a A /shared/b {%d+}\r\n" % len(large) + large + b")\r\n"
    )
    assert said.startswith(b"a NO [LIMIT] ")
    values = b" ".join(b"/shared/n%d NIL" % n for n in range(201))
    assert (await talk.send(b"b SETMETADATA INBOX (" + values + b")\r\n")).startswith(b"b BAD ")
    values = b" ".join(b"/shared/n%d x" % n for n in range(MAX_ENTRIES))
    values = values.replace(b" x", b' "x"')
    said = await talk.send(b"c SETMETADATA INBOX (" + values + b")\r\n")
    assert said.startswith(b"c NO [METADATA TOOMANY] ")
    said = await talk.send(
        b'd SETMETADATA "" (/shared/comment "x" /shared/admin "mailto:me@example.test")\r\n'
    )
    assert said.startswith(b"d NO [NOPERM] ")
    assert await account.annotations(INBOX) == before
    assert await account.annotations() == {"/shared/comment": b"Shared comment"}
    await talk.end()


async def test_list_tells_them_with_the_mailboxes(account: MemoryAccount) -> None:
    """RFC 9590 3 and its examples: NIL for what has no value, nothing for what is no mailbox or no choice of LIST's."""
    await account.create_mailbox("bar/child")
    foo = await account.create_mailbox("foo")
    await account.create_mailbox("foo/child")
    await account.set_subscribed(foo.mailbox_id, False)
    await play(
        """
        C: A01 LIST "" (INBOX foo bar) RETURN (METADATA (/private/comment /shared/nothing))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * METADATA INBOX (/private/comment "My own comment" /shared/nothing NIL)
        S: * LIST (\\NonExistent \\HasChildren) "/" bar
        S: * LIST (\\HasChildren) "/" foo
        S: * METADATA foo (/private/comment NIL /shared/nothing NIL)
        S: A01 OK …
        C: A02 LIST (SUBSCRIBED RECURSIVEMATCH) "" (INBOX foo) RETURN (STATUS (MESSAGES) METADATA ("/private/comment"))
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * STATUS INBOX (MESSAGES 0)
        S: * METADATA INBOX (/private/comment "My own comment")
        S: * LIST (\\HasChildren) "/" foo (CHILDINFO ("SUBSCRIBED"))
        S: A02 OK …
        C: A03 LIST "" % RETURN (METADATA /shared/comment)
        S: A03 BAD …
        C: A04 LIST "" % RETURN (METADATA (comment))
        S: A04 BAD …
        """,
        account=account,
        mailbox=None,
    )


@pytest.mark.parametrize(
    "command",
    [
        b"GETMETADATA INBOX comment",
        b"GETMETADATA INBOX /comment",
        b"GETMETADATA INBOX /shared/",
        b"GETMETADATA INBOX /shared//a",
        b"GETMETADATA INBOX (/shared/*)",
        b'GETMETADATA INBOX "/shared/%"',
        b"GETMETADATA INBOX ()",
        b"GETMETADATA INBOX",
        b"GETMETADATA (DEPTH 2) INBOX /shared",
        b"GETMETADATA (SIZE 2) INBOX /shared",
        b"SETMETADATA INBOX (/shared/a)",
        b"SETMETADATA INBOX ()",
        b"SETMETADATA INBOX /shared/a NIL",
        b'SETMETADATA INBOX (/shared "x")',
        b'SETMETADATA INBOX (/shared/vendor/x "y")',
        b"SETMETADATA INBOX (/shared/a x)",
    ],
)
async def test_what_is_no_entry_is_bad(command: bytes) -> None:
    talk = await Talk().log_in()
    assert (await talk.send(b"a " + command + b"\r\n")).startswith(b"a BAD ")
    await talk.end()


async def test_it_comes_after_the_log_in() -> None:
    talk = Talk()
    for command in (b'GETMETADATA "" /shared/a', b'SETMETADATA "" (/shared/a NIL)'):
        assert (await talk.send(b"a " + command + b"\r\n")).startswith(b"a BAD ")
    await talk.end()
