"""NOTIFY (RFC 5465): what a client hears of without asking, in which mailboxes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play, settled

ARCHIVE, DRAFTS, JUNK = MailboxId("archive"), MailboxId("drafts"), MailboxId("junk")


@pytest.fixture
async def account() -> MemoryAccount:
    """Two messages in INBOX, one in Archive, none recent."""
    account = MemoryAccount()
    await fill(account, [mail("one"), mail("two")])
    await fill(account, [mail("old")], mailbox=ARCHIVE)
    await account.claim_recent(INBOX)
    return account


class Listener:
    """A session that asked, and what it hears then."""

    def __init__(self, account: MemoryAccount) -> None:
        self.talk = Talk(account)

    async def ask(self, command: str, mailbox: str | None = "INBOX", before: str = "") -> str:
        await self.talk.log_in(mailbox)
        if before:
            await self.talk.send(before.encode() + b"\r\n")
        return (await self.talk.send(f"n NOTIFY {command}\r\n".encode())).decode()

    async def hear(self) -> list[str]:
        await settled()
        return self.talk.take().decode().split("\r\n")[:-1]

    async def say(self, command: str) -> list[str]:
        return (await self.talk.send(command.encode() + b"\r\n")).decode().split("\r\n")[:-1]


@pytest.fixture
async def listener(account: MemoryAccount) -> Listener:
    return Listener(account)


SELECTED = "SET (SELECTED (MessageNew MessageExpunge FlagChange))"


async def test_the_selected_mailbox_is_told_of_at_once(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 5.1 to 5.3, 6.1.1: between commands, expunges too."""
    assert await listener.ask(SELECTED) == "n OK You will hear.\r\n"
    await fill(account, [mail()])
    assert await listener.hear() == ["* 3 EXISTS", "* 1 RECENT"]
    await account.store_flags(INBOX, [Uid(2)], "add", ["\\Deleted"])
    assert await listener.hear() == ["* 2 FETCH (UID 2 FLAGS (\\Deleted))"]
    await account.expunge(INBOX)
    assert await listener.hear() == ["* 2 EXPUNGE"]
    await fill(account, [mail()], mailbox=ARCHIVE)
    assert await listener.hear() == []
    await listener.talk.end()


async def test_delayed_expunges_wait_for_a_command_that_may_tell_them(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 6.1.2: NOOP and IDLE may, FETCH may not."""
    await listener.ask("SET (SELECTED-DELAYED (MessageNew MessageExpunge))")
    await account.move(INBOX, [Uid(1)], JUNK)
    await fill(account, [mail()])
    assert await listener.hear() == ["* 3 EXISTS", "* 1 RECENT"]
    assert await listener.say("a FETCH 2 UID") == ["* 2 FETCH (UID 2)", "a OK Fetched."]
    assert await listener.say("b NOOP") == ["* 1 EXPUNGE", "b OK Nothing done."]
    await account.move(INBOX, [Uid(2)], JUNK)
    assert await listener.hear() == []
    assert await listener.say("c IDLE") == ["+ idling", "* 1 EXPUNGE"]
    await account.move(INBOX, [Uid(3)], JUNK)
    assert await listener.hear() == ["* 1 EXPUNGE"]
    await listener.talk.end()


async def test_new_messages_come_with_what_was_asked_for(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 5.2 and the example of 3.1; \\Seen is not set, and what the client made itself is not fetched."""
    await listener.ask(
        "SET (selected (MessageNew (uid body[header.fields (subject)]) MessageExpunge))"
    )
    await fill(account, [mail("fresh")])
    assert await listener.hear() == [
        "* 3 EXISTS",
        "* 1 RECENT",
        "* 3 FETCH (UID 3 BODY[HEADER.FIELDS (subject)] {18}",
        "Subject: fresh",
        "",
        ")",
    ]
    assert (await account.rows(INBOX))[2].flags == ()
    assert await listener.say("a APPEND INBOX {8+}\r\nA: b\r\n\r\n") == [
        "* 4 EXISTS",
        "* 2 RECENT",
        "a OK [APPENDUID 1 4] Appended.",
    ]
    assert await listener.say("b COPY 1 INBOX") == [
        "* 5 EXISTS",
        "* 3 RECENT",
        "b OK [COPYUID 1 1 5] Copied.",
    ]
    await listener.talk.end()


async def test_what_is_not_asked_for_is_not_told(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 3.1: no word of the selected mailbox means none; a later NOTIFY tells what gathered."""
    await listener.ask("SET (mailboxes Archive (MessageNew MessageExpunge))")
    await fill(account, [mail()])
    await account.store_flags(INBOX, [Uid(1)], "add", ["\\Flagged"])
    await account.move(INBOX, [Uid(2)], JUNK)
    assert await listener.hear() == []
    assert await listener.say("a NOOP") == ["a OK Nothing done."]
    assert await listener.say("b FETCH 1 UID") == ["* 1 FETCH (UID 1)", "b OK Fetched."]
    said = await listener.say(f"c NOTIFY {SELECTED}")
    assert said == [
        "* 2 EXPUNGE",
        "* 2 EXISTS",
        "* 1 RECENT",
        "* 1 FETCH (UID 1 FLAGS (\\Flagged))",
        "c OK You will hear.",
    ]
    await listener.say("d NOTIFY NONE")
    await fill(account, [mail()])
    assert await listener.say("e NOOP") == ["e OK Nothing done."]
    assert await listener.say("f STORE 1 +FLAGS (\\Deleted)") == [
        "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Flagged))",
        "f OK Flags stored.",
    ]
    assert await listener.say("g EXPUNGE") == ["* 1 EXPUNGE", "g OK Expunged."]
    await listener.talk.end()


async def test_other_mailboxes_are_told_of_by_status(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 5.1 to 5.3 without CONDSTORE; the groups name mailboxes in four ways (6.2 to 6.6)."""
    for name in ("Lists", "Lists/Lemonade", "Lists/Im2000", "Misc"):
        await account.create_mailbox(name)
    ids = {info.name: info.mailbox_id for info in await account.list_mailboxes()}
    await account.set_subscribed(ids["Misc"], False)
    said = await listener.ask(
        "set status (selected MessageNew (uid) MessageExpunge)"
        " (subtree Lists (MessageNew MessageExpunge))"
        " (mailboxes (Archive Nowhere) (MessageNew MessageExpunge FlagChange))"
    )
    assert said.split("\r\n") == [
        "* STATUS Archive (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 2 HIGHESTMODSEQ 2)",
        "* STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7)",
        "* STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 8)",
        "* STATUS Lists/Im2000 (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 9)",
        "n OK You will hear.",
        "",
    ]
    await fill(account, [mail(), mail()], mailbox=ids["Lists/Lemonade"])
    await fill(account, [mail()], mailbox=ids["Misc"])
    await fill(account, [mail()], mailbox=DRAFTS)
    assert await listener.hear() == ["* STATUS Lists/Lemonade (MESSAGES 2 UIDNEXT 3)"]
    await account.store_flags(ids["Lists/Lemonade"], [Uid(1)], "add", ["\\Seen", "\\Deleted"])
    assert await listener.hear() == []
    await account.expunge(ids["Lists/Lemonade"])
    assert await listener.hear() == ["* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 3)"]
    await account.store_flags(ARCHIVE, [Uid(1)], "add", ["\\Flagged"])
    assert await listener.hear() == []
    await account.store_flags(ARCHIVE, [Uid(1)], "add", ["\\Seen"])
    assert await listener.hear() == ["* STATUS Archive (UNSEEN 0)"]
    assert await listener.say("a APPEND Archive {8+}\r\nA: b\r\n\r\n") == [
        "a OK [APPENDUID 2 2] Appended."
    ]
    await listener.say(
        "b NOTIFY SET (SUBSCRIBED (MessageNew MessageExpunge)) (MAILBOXES Junk NONE)"
    )
    await fill(account, [mail()], mailbox=ids["Misc"])
    await fill(account, [mail()], mailbox=JUNK)
    assert await listener.hear() == []
    await account.set_subscribed(ids["Misc"], True)
    await fill(account, [mail()], mailbox=ids["Misc"])
    assert await listener.hear() == ["* STATUS Misc (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 10)"]
    await listener.say("c NOTIFY SET (INBOXES (MessageNew MessageExpunge))")
    await fill(account, [mail()], mailbox=JUNK)
    assert await listener.hear() == ["* STATUS Junk (MESSAGES 2 UIDNEXT 3)"]
    await fill(account, [mail()])
    assert await listener.hear() == [], "it is selected, and no group says SELECTED"
    assert "c OK Closed." not in await listener.say("d UNSELECT")
    await fill(account, [mail()])
    assert await listener.hear() == ["* STATUS INBOX (MESSAGES 4 UIDNEXT 5)"]
    await listener.talk.end()


async def test_with_condstore_status_tells_modseqs(
    account: MemoryAccount, listener: Listener
) -> None:
    """RFC 5465 5.1, 5.2."""
    await listener.ask(
        "SET (PERSONAL (MessageNew MessageExpunge FlagChange))", None, "x ENABLE CONDSTORE"
    )
    await account.store_flags(ARCHIVE, [Uid(1)], "add", ["\\Flagged"])
    assert await listener.hear() == ["* STATUS Archive (UIDVALIDITY 2 HIGHESTMODSEQ 3)"]
    await fill(account, [mail()], mailbox=ARCHIVE)
    assert await listener.hear() == [
        "* STATUS Archive (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 2 UNSEEN 2 HIGHESTMODSEQ 4)"
    ]
    await listener.talk.end()


async def test_names_of_mailboxes(account: MemoryAccount, listener: Listener) -> None:
    """RFC 5465 5.4 and its examples: parents are told with their children, children not with their parents."""
    await listener.ask("SET (PERSONAL (MailboxName))", None)
    made = await account.create_mailbox("Lists/Lemonade")
    assert await listener.hear() == [
        '* LIST (\\NonExistent \\HasChildren) "/" Lists',
        '* LIST (\\HasNoChildren \\Subscribed) "/" Lists/Lemonade',
    ]
    top = await account.create_mailbox("Lists")
    assert await listener.hear() == ['* LIST (\\HasChildren \\Subscribed) "/" Lists']
    await account.rename_mailbox(top.mailbox_id, "Groups")
    assert await listener.hear() == [
        '* LIST (\\HasChildren \\Subscribed) "/" Groups ("OLDNAME" (Lists))'
    ]
    await account.delete_mailbox(made.mailbox_id)
    assert await listener.hear() == [
        '* LIST (\\HasNoChildren \\Subscribed) "/" Groups',
        '* LIST (\\NonExistent) "/" Groups/Lemonade',
    ]
    await account.set_subscribed(top.mailbox_id, False)
    assert await listener.hear() == []
    await listener.say("a CREATE Own/Child")
    await listener.say("b RENAME Own/Child Other")
    await listener.say("c UNSUBSCRIBE Other")
    await listener.say("d DELETE Other")
    await listener.say("e RENAME INBOX Older")
    assert await listener.hear() == [], "what it does itself it knows"
    await listener.talk.end()


async def test_own_changes_of_names_leave_those_of_others(
    account: MemoryAccount, listener: Listener
) -> None:
    await listener.ask("SET (PERSONAL (MailboxName SubscriptionChange))", None)
    await listener.say("a CREATE Own")
    [own] = [info for info in await account.list_mailboxes() if info.name == "Own"]
    await account.create_mailbox("Theirs")
    await account.set_subscribed(own.mailbox_id, False)
    assert sorted(await listener.hear()) == [
        '* LIST (\\HasNoChildren \\Subscribed) "/" Theirs',
        '* LIST (\\HasNoChildren) "/" Own',
    ]
    await listener.talk.end()


async def test_subscriptions(account: MemoryAccount, listener: Listener) -> None:
    """RFC 5465 5.5: \\Subscribed is there if and only if it is; all attributes are right."""
    await listener.ask("SET (MAILBOXES Drafts (SubscriptionChange))", None)
    await account.set_subscribed(DRAFTS, False)
    await account.set_subscribed(JUNK, False)
    assert await listener.hear() == ['* LIST (\\HasNoChildren \\Drafts) "/" Drafts']
    await account.set_subscribed(DRAFTS, True)
    assert await listener.hear() == ['* LIST (\\HasNoChildren \\Subscribed \\Drafts) "/" Drafts']
    await account.create_mailbox("Fresh")
    assert await listener.hear() == []
    await listener.talk.end()


async def test_annotations(account: MemoryAccount, listener: Listener) -> None:
    """RFC 5465 5.6, 5.7: names without values, also of what was removed."""
    await listener.ask(
        "SET (PERSONAL (ServerMetadataChange)) (MAILBOXES INBOX (MailboxMetadataChange))", None
    )
    await account.annotate(INBOX, {"/shared/comment": b"x", "/private/comment": b"y"})
    assert await listener.hear() == ["* METADATA INBOX /private/comment /shared/comment"]
    await account.annotate(INBOX, {"/shared/comment": None})
    await account.annotate(ARCHIVE, {"/shared/comment": b"x"})
    assert await listener.hear() == ["* METADATA INBOX /shared/comment"]
    await account.annotate(None, {"/shared/comment": b"x"})
    assert await listener.hear() == ['* METADATA "" /shared/comment']
    await listener.say('a SETMETADATA INBOX (/shared/comment "mine")')
    assert await listener.hear() == []
    await account.annotate(INBOX, {"/shared/comment": b"theirs"})
    assert await listener.hear() == ["* METADATA INBOX /shared/comment"]
    await listener.talk.end()


async def test_metadata_enabled_tells_at_the_end_of_commands(account: MemoryAccount) -> None:
    """RFC 5464 4.1, 4.4.2 and its examples; without ENABLE nothing is told, in IDLE it is at once."""
    talk = await Talk(account).log_in("INBOX")
    await account.annotate(INBOX, {"/shared/comment": b"x"})
    await settled()
    assert await talk.send(b"a NOOP\r\n") == b"a OK Nothing done.\r\n"
    assert b"* ENABLED METADATA\r\n" in await talk.send(b"b ENABLE METADATA\r\n")
    await account.annotate(INBOX, {"/shared/comment": b"y", "/private/comment": b"z"})
    await account.annotate(None, {"/shared/comment": b"y"})
    await settled()
    assert talk.take() == b""
    assert await talk.send(b"c NOOP\r\n") == (
        b'* METADATA INBOX /private/comment /shared/comment\r\n* METADATA "" /shared/comment\r\n'
        b"c OK Nothing done.\r\n"
    )
    assert await talk.send(b"d IDLE\r\n") == b"+ idling\r\n"
    await account.annotate(ARCHIVE, {"/shared/comment": b"y"})
    await settled()
    assert talk.take() == b"* METADATA Archive /shared/comment\r\n"
    await talk.end()


async def test_idle_tells_what_notify_says(account: MemoryAccount, listener: Listener) -> None:
    """RFC 5465 4."""
    await listener.ask("SET (MAILBOXES Archive (MessageNew MessageExpunge))")
    assert await listener.say("i IDLE") == ["+ idling"]
    await fill(account, [mail()])
    assert await listener.hear() == []
    await fill(account, [mail()], mailbox=ARCHIVE)
    assert await listener.hear() == ["* STATUS Archive (MESSAGES 2 UIDNEXT 3)"]
    await listener.say("DONE")
    await listener.talk.end()


async def test_nothing_is_told_within_an_answer(account: MemoryAccount) -> None:
    """A message is sent in pieces; what happens meanwhile waits for the end of the command."""

    class Stuck(Talk):
        go: asyncio.Event | None = None

        async def drain(self) -> None:
            if self.go is not None:
                await self.go.wait()

    talk = Stuck(account)
    await talk.log_in("INBOX")
    await talk.send(f"n NOTIFY {SELECTED} (PERSONAL (MailboxName))\r\n".encode())
    talk.go = asyncio.Event()
    waiting = asyncio.create_task(talk.send(b"a UID FETCH 1:2 BODY.PEEK[]\r\n"))
    await settled()
    await fill(account, [mail()])
    await account.create_mailbox("Fresh")
    await settled()
    talk.go.set()
    said = await waiting + await _rest(talk)
    end = said.index(b"* 3 EXISTS")
    assert said.count(b"FETCH (UID") == 2
    assert said.rindex(b"FETCH (UID") < end < said.index(b"a OK")
    assert b'"/" Fresh' in said
    await talk.end()


async def _rest(talk: Talk) -> bytes:
    await settled()
    return talk.take()


async def test_events_there_are_not_are_refused_by_name() -> None:
    """RFC 5465 3.1."""
    events = (
        "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
        " MailboxMetadataChange ServerMetadataChange"
    )
    await play(
        f"""
        C: a NOTIFY SET (SELECTED (MessageNew MessageExpunge AnnotationChange))
        S: a NO [BADEVENT ({events})] …
        C: b NOTIFY SET (PERSONAL (Weather))
        S: b NO [BADEVENT (…)] …
        """
    )


@pytest.mark.parametrize(
    "command",
    [
        "SET",
        "NONE SET",
        "SET STATUS",
        "SET (SELECTED)",
        "SET (SELECTED ())",
        "SET (EVERYTHING (MailboxName))",
        "SET (SUBTREE (MailboxName))",
        "SET (SELECTED (MailboxName))",
        "SET (SELECTED (MessageNew))",
        "SET (SELECTED (FlagChange))",
        "SET (SELECTED (MessageExpunge))",
        "SET (PERSONAL (MessageNew (UID) MessageExpunge))",
        "SET (SELECTED NONE) (SELECTED-DELAYED NONE)",
        "SET (PERSONAL (MailboxName)",
        "SET (PERSONAL (MailboxName)) x",
    ],
)
async def test_what_makes_no_sense_is_bad(command: str) -> None:
    """RFC 5465 5, 6.1, 8."""
    talk = await Talk().log_in("INBOX")
    said = await talk.send(f"a NOTIFY {command}\r\n".encode())
    assert said.startswith(b"a BAD ")
    assert talk.session.watching.groups is None
    await talk.end()


async def test_it_comes_after_the_log_in() -> None:
    talk = Talk()
    assert (await talk.send(b"a NOTIFY NONE\r\n")).startswith(b"a BAD ")
    await talk.end()


async def test_an_account_on_soledad_is_heard_of_too(tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "alice.db", bytes(32)) as store:
        local = await LocalAccount.open(store, "alice@example.test")
        await fill(local, [mail()])
        talk = await Talk(local).log_in("INBOX")
        await talk.send(
            b"n NOTIFY SET (SELECTED (MessageNew (UID) MessageExpunge FlagChange))"
            b" (PERSONAL (MessageNew MessageExpunge MailboxName MailboxMetadataChange))\r\n"
        )
        await fill(local, [mail()])
        made = await local.create_mailbox("Lists")
        await fill(local, [mail(), mail()], mailbox=made.mailbox_id)
        await local.annotate(made.mailbox_id, {"/shared/comment": b"a", "/shared/more": b"b"})
        await local.store_flags(INBOX, [Uid(1)], "add", ["\\Deleted"])
        await local.expunge(INBOX)
        said = b""
        async with asyncio.timeout(10):
            while b"METADATA" not in said or b"EXPUNGE" not in said or b"Lists (MESS" not in said:
                await talk.session.output.drain()
                said += await talk.send(b"x NOOP\r\n")
        assert b"* 2 EXISTS\r\n" in said
        assert b"* 2 FETCH (UID 2)\r\n" in said or b"* 1 FETCH (UID 2)\r\n" in said
        assert b'* LIST (\\HasNoChildren \\Subscribed) "/" Lists\r\n' in said
        assert b"* STATUS Lists (MESSAGES 2 UIDNEXT 3 UIDVALIDITY" in said
        assert b"* METADATA Lists /shared/comment /shared/more\r\n" in said
        assert b"* 1 EXPUNGE\r\n" in said
        await talk.end()
        await local.close()
