"""CREATE, DELETE, RENAME, SUBSCRIBE, LIST and LSUB with their extensions."""

from __future__ import annotations

from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, mail, play


async def test_list_shows_uses_children_and_missing_parents() -> None:
    account = MemoryAccount()
    await account.create_mailbox("Work/Größe & Maß")
    await play(
        """
        C: a LIST "" ""
        S: * LIST (\\Noselect) "/" ""
        S: a OK …
        C: b LIST "" *
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: * LIST (\\Noselect \\HasChildren) "/" Work
        S: * LIST (\\HasNoChildren) "/" "Work/Gr&APYA3w-e &- Ma&AN8-"
        S: b OK …
        C: c LIST "" W%
        S: * LIST (\\Noselect \\HasChildren) "/" Work
        S: c OK …
        C: d LIST Work/ %
        S: * LIST (\\HasNoChildren) "/" "Work/Gr&APYA3w-e &- Ma&AN8-"
        S: d OK …
        C: e LIST "" inbox
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: e OK …
        C: f LIST "" "Work/Gr&APYA3w-e &- Ma&AN8-"
        S: * LIST (\\HasNoChildren) "/" "Work/Gr&APYA3w-e &- Ma&AN8-"
        S: f OK …
        C: g LIST "" "&broken"
        S: g OK …
        C: h SELECT "&broken"
        S: h NO [NONEXISTENT] …
        C: i CREATE "a &! b"
        S: i NO [CANNOT] …
        C: j STATUS "&AGE" (MESSAGES)
        S: j NO [NONEXISTENT] …
        """,
        account=account,
        mailbox=None,
    )


async def test_create_delete_rename() -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    await play(
        """
        C: a CREATE Work/
        S: a OK [MAILBOXID …] Created.
        C: b CREATE Work
        S: b NO [ALREADYEXISTS] …
        C: c CREATE inbox
        S: c NO [ALREADYEXISTS] …
        C: d CREATE Work/Inner
        S: d OK …
        C: e RENAME Work Play
        S: e OK Renamed.
        C: f LIST "" Play*
        S: * LIST (\\HasChildren) "/" Play
        S: * LIST (\\HasNoChildren) "/" Play/Inner
        S: f OK …
        C: g DELETE Play
        S: g OK Deleted.
        C: h SELECT Play
        S: h NO [NONEXISTENT] …
        C: i LIST "" Play*
        S: * LIST (\\Noselect \\HasChildren) "/" Play
        S: * LIST (\\HasNoChildren) "/" Play/Inner
        S: i OK …
        C: j DELETE Nowhere
        S: j NO [NONEXISTENT] …
        C: k DELETE INBOX
        S: k NO [CANNOT] …
        C: l RENAME INBOX Old
        S: l OK …
        C: m STATUS Old (MESSAGES)
        S: * STATUS Old (MESSAGES 1)
        S: m OK …
        C: n STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: n OK …
        C: o CREATE bad//name
        S: o NO [CANNOT] …
        C: p RENAME Old Old/Inner
        S: p NO [CANNOT] …
        C: q CREATE "Gr&APYA3w-e"
        S: q OK …
        """,
        account=account,
        mailbox=None,
    )
    names = {info.name for info in await account.list_mailboxes()}
    assert {"Old", "Größe", "Play/Inner"} <= names


async def test_renaming_the_selected_inbox_empties_it_before_the_eyes() -> None:
    account = MemoryAccount()
    await fill(account, [mail(), mail()])
    await play(
        """
        C: a RENAME INBOX Old
        S: * 2 EXPUNGE
        S: * 1 EXPUNGE
        S: a OK Renamed.
        """,
        account=account,
    )
    assert (await account.status(INBOX)).messages == 0


async def test_deleting_the_selected_mailbox_closes_it() -> None:
    account = MemoryAccount()
    await account.create_mailbox("Short")
    await play(
        """
        C: a SELECT Short
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: a OK …
        C: b DELETE Short
        S: * OK [CLOSED] The selected mailbox was deleted
        S: b OK …
        C: c FETCH 1 FLAGS
        S: c BAD Select a mailbox first.
        """,
        account=account,
        mailbox=None,
    )


async def test_subscriptions() -> None:
    account = MemoryAccount()
    for name in ("News", "News/Daily", "Other/Deep"):
        await account.create_mailbox(name)
    await play(
        """
        C: a UNSUBSCRIBE News
        S: a OK Unsubscribed.
        C: b UNSUBSCRIBE Nowhere
        S: b NO [NONEXISTENT] …
        C: c LSUB "" News*
        S: * LSUB () "/" News/Daily
        S: c OK …
        C: d LSUB "" %e%
        S: * LSUB () "/" Archive
        S: * LSUB (\\Noselect) "/" News
        S: * LSUB (\\Noselect) "/" Other
        S: * LSUB () "/" Sent
        S: d OK …
        """,
        account=account,
        mailbox=None,
    )


async def test_a_name_with_nothing_but_mailboxes_below_is_renamed_with_them() -> None:
    """Thunderbird deletes a folder by renaming it into Trash; a folder that is only a name is no other to it."""
    account = MemoryAccount()
    for name in ("p/q", "p/q/r", "p/s/t", "taken", "full/q"):
        await account.create_mailbox(name)
    await play(
        """
        C: a RENAME p taken
        S: a NO [ALREADYEXISTS] …
        C: b RENAME p full
        S: b NO [ALREADYEXISTS] …
        C: c RENAME p p/s
        S: c NO [CANNOT] …
        C: d RENAME p bad//name
        S: d NO [CANNOT] …
        C: e RENAME p Trash/p
        S: e OK …
        C: f LIST "" p*
        S: f OK …
        C: g LIST "" Trash/*
        S: * LIST (\\Noselect \\HasChildren) "/" Trash/p
        S: * LIST (\\HasChildren) "/" Trash/p/q
        S: * LIST (\\HasNoChildren) "/" Trash/p/q/r
        S: * LIST (\\Noselect \\HasChildren) "/" Trash/p/s
        S: * LIST (\\HasNoChildren) "/" Trash/p/s/t
        S: g OK …
        C: h RENAME p x
        S: h NO [NONEXISTENT] …
        """,
        account=account,
        mailbox=None,
    )


async def test_a_parent_is_told_only_for_what_is_not_told_itself() -> None:
    """RFC 5258 3: no redundant CHILDINFO."""
    account = MemoryAccount()
    for name in ("foo2/bar2", "baz2/bar2", "baz2/bar22", "eps2/mamba", "qux2/a", "qux2/b2"):
        await account.create_mailbox(name)
    await play(
        """
        C: a LIST (SUBSCRIBED RECURSIVEMATCH) "" "*2"
        S: * LIST (\\HasNoChildren \\Subscribed) "/" baz2/bar2
        S: * LIST (\\HasNoChildren \\Subscribed) "/" baz2/bar22
        S: * LIST (\\NonExistent \\HasChildren) "/" eps2 (CHILDINFO ("SUBSCRIBED"))
        S: * LIST (\\HasNoChildren \\Subscribed) "/" foo2/bar2
        S: * LIST (\\NonExistent \\HasChildren) "/" qux2 (CHILDINFO ("SUBSCRIBED"))
        S: * LIST (\\HasNoChildren \\Subscribed) "/" qux2/b2
        S: a OK …
        C: b CREATE foo2
        S: b OK …
        C: c LIST (SUBSCRIBED RECURSIVEMATCH) "" "foo*"
        S: * LIST (\\HasChildren \\Subscribed) "/" foo2 (CHILDINFO ("SUBSCRIBED"))
        S: * LIST (\\HasNoChildren \\Subscribed) "/" foo2/bar2
        S: c OK …
        """,
        account=account,
        mailbox=None,
    )


async def test_list_extended() -> None:
    account = MemoryAccount()
    for name in ("News", "News/Daily", "Other/Deep"):
        await account.create_mailbox(name)
    for info in await account.list_mailboxes():
        if info.name in ("News", "Junk"):
            await account.set_subscribed(info.mailbox_id, False)
    await play(
        """
        C: a LIST (SUBSCRIBED) "" "News*"
        S: * LIST (\\HasNoChildren \\Subscribed) "/" News/Daily
        S: a OK …
        C: b LIST (SUBSCRIBED RECURSIVEMATCH) "" "News"
        S: * LIST (\\HasChildren) "/" News (CHILDINFO ("SUBSCRIBED"))
        S: b OK …
        C: c LIST (RECURSIVEMATCH) "" *
        S: c BAD …
        C: d LIST "" (INBOX "O%") RETURN (SUBSCRIBED CHILDREN)
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * LIST (\\NonExistent \\HasChildren) "/" Other
        S: d OK …
        C: e LIST (SPECIAL-USE) "" * RETURN (SPECIAL-USE)
        S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: e OK …
        C: f LIST () "" () RETURN ()
        S: f BAD …
        C: g LIST (WEIRD) "" *
        S: g BAD …
        C: h LIST (REMOTE) "" INBOX
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: h OK …
        C: i LIST "" ""  RETURN ()
        S: i OK …
        """,
        account=account,
        mailbox=None,
    )


async def test_list_status() -> None:
    account = MemoryAccount()
    await account.create_mailbox("Other/Deep")
    await fill(account, [mail()])
    await play(
        """
        C: a LIST "" (INBOX Other%) RETURN (STATUS (MESSAGES UNSEEN))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (MESSAGES 1 UNSEEN 1)
        S: * LIST (\\NonExistent \\HasChildren) "/" Other
        S: a OK …
        C: b LIST "" % RETURN (STATUS (NOTHING))
        S: b BAD …
        """,
        account=account,
        mailbox=None,
    )


async def test_create_special_use() -> None:
    account = MemoryAccount()
    await play(
        """
        C: a CREATE Everything (USE (\\All))
        S: a OK [MAILBOXID …] Created.
        C: b LIST "" E*
        S: * LIST (\\HasNoChildren \\All) "/" Everything
        S: b OK …
        C: c CREATE Second (USE (\\Drafts))
        S: c NO [USEATTR] …
        C: d CREATE Third (USE (\\Nonsense))
        S: d NO [USEATTR] …
        C: e CREATE Fourth (COLOUR (blue))
        S: e BAD …
        """,
        account=account,
        mailbox=None,
    )
    assert "Second" not in {info.name for info in await account.list_mailboxes()}
