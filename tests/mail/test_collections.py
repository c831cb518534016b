"""Collections of messages: of one mailbox, and of all that have something in common."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leap.mail import (
    Account,
    MessageCollection,
    NewMessage,
    NoSuchMessage,
    NotPermitted,
    QueryError,
)
from leap.mail.memory import MemoryAccount
from leap.mail.tags import keyword_of

RAW = b"From: bob@example.test\r\nSubject: %d\r\n\r\nThe heron stands still.\r\n"


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with Account(MemoryAccount()) as account:
        yield account


@pytest.fixture
async def inbox(account: Account) -> MessageCollection:
    inbox = await account.collection("INBOX")
    await inbox.add_many(
        NewMessage(raw=RAW % at, internal_date=1_700_000_000 + at) for at in range(10)
    )
    return inbox


@pytest.fixture
async def archive(account: Account, inbox: MessageCollection) -> MessageCollection:
    """Two of the ten are here."""
    archive = await account.collection("\\Archive")
    await inbox.move_to([2, 8], archive)
    return archive


async def test_windows_by_uid_go_on_where_they_ended(inbox: MessageCollection) -> None:
    async def uids(uid: int, count: int, newest_first: bool) -> list[int]:
        return [m.uid for m in await inbox.window_from(uid, count, newest_first=newest_first)]

    assert await uids(2**40, 3, True) == [10, 9, 8]
    assert await uids(7, 3, True) == [7, 6, 5]
    await inbox.delete([4, 5])
    await inbox.add(RAW % 10)
    assert await uids(5, 3, True) == [3, 2, 1]
    assert await uids(0, 3, True) == []
    assert await uids(4, 3, False) == [6, 7, 8]
    assert await uids(0, 2, False) == [1, 2]
    assert await uids(12, 2, False) == []
    assert await uids(5, 0, True) == []


async def test_windows_by_uid_cross_wide_gaps(account: Account) -> None:
    inbox = await account.collection("INBOX")
    await inbox.add_many([NewMessage(raw=b"x")] * 900)
    await inbox.delete(range(50, 850))
    assert [m.uid for m in await inbox.window_from(860, 12)] == [*range(860, 849, -1), 49]
    found = await inbox.window_from(48, 4, newest_first=False)
    assert [m.uid for m in found] == [48, 49, 850, 851]


async def test_recent_and_unseen_are_counted(inbox: MessageCollection) -> None:
    await inbox.add_flags([1, 2], ["\\Seen"])
    assert (await inbox.count(), await inbox.unseen(), await inbox.recent()) == (10, 8, 10)


async def test_messages_rows_and_uids_choose_alike(inbox: MessageCollection) -> None:
    [message] = await inbox.window(0, 1)
    [row] = await inbox.rows(first=2, last=2)
    changed = await inbox.add_flags([message, row, 3], ["\\Flagged"])
    assert sorted(one.uid for one in changed) == [2, 3, 10]
    assert {row.uid for row in await inbox.rows() if "\\Flagged" in row.flags} == {2, 3, 10}
    assert await inbox.add_flags([], ["\\Flagged"]) == []


async def test_a_message_of_another_mailbox_is_not_taken_for_one_of_this(
    inbox: MessageCollection, archive: MessageCollection
) -> None:
    [other] = await archive.window(0, 1)
    with pytest.raises(ValueError, match="another mailbox"):
        await inbox.delete([other])
    assert await inbox.count() == 8


async def test_tags_are_set_added_and_removed_beside_other_flags(inbox: MessageCollection) -> None:
    await inbox.add_flags([1], ["\\Seen", "$Forwarded", "Work"])
    await inbox.add_tags([1, 2], ["zu erledigen", "Größe"])
    message = await inbox.by_uid(1)
    assert message is not None
    assert message.tags == ("Größe", "Work", "zu erledigen")
    await inbox.set_tags([1, 2], ["work", "a_b"])
    assert [m.tags for m in await inbox.window(0, 2, newest_first=False)] == [
        ("Work", "a_b", "work"),
        ("a_b", "work"),
    ]
    await inbox.remove_tags([1, 2], ["WORK"])
    first, second = await inbox.window(0, 2, newest_first=False)
    assert set(first.flags) == {"\\Seen", "$Forwarded", keyword_of("a_b")}
    assert second.tags == ("a_b",)
    with pytest.raises(NotPermitted):
        await inbox.add_tags([1], [""])


async def test_found_messages_span_mailboxes(
    account: Account, inbox: MessageCollection, archive: MessageCollection
) -> None:
    found = account.found("heron")
    await archive.add_flags([1], ["\\Seen"])
    assert (await found.count(), await found.unseen()) == (10, 9)
    subjects = [await m.subject() for m in await found.window(0, 4)]
    assert subjects == ["9", "8", "7", "6"]
    assert [await m.subject() for m in await found.window(8, 9)] == ["1", "0"]
    oldest = await found.window(1, 2, newest_first=False)
    assert [await m.subject() for m in oldest] == ["1", "2"]
    assert [m.mailbox_id for m in oldest] == ["archive", "inbox"]
    assert await found.window(10, 5) == await found.window(10, 5, newest_first=False) == []
    assert [await m.subject() async for m in found] == [str(at) for at in range(9, -1, -1)]
    assert [one.mailbox_id for one in await found.rows(1, 2)] == ["inbox", "archive"]


async def test_found_messages_are_changed_in_bulk(
    account: Account, inbox: MessageCollection, archive: MessageCollection
) -> None:
    found = account.found("heron")
    await found.add_flags(await found.window(0, 3), ["\\Flagged"])
    await found.add_tags([m async for m in found], ["water birds"])
    assert await account.tagged("water birds").count() == 10
    assert await account.tagged("Water Birds").unseen() == 10
    flagged = account.found("is:flagged")
    assert await flagged.count() == 3
    sent = await account.collection("\\Sent")
    done = await flagged.move_to(await flagged.window(), sent)
    assert (len(done.source), done.target) == (3, (1, 2, 3))
    assert (await inbox.count(), await archive.count(), await sent.count()) == (6, 1, 3)
    copied = await flagged.copy_to(await flagged.rows(0, 1), archive)
    assert (len(copied.target), await flagged.count()) == (1, 4)
    assert await found.delete([m async for m in found]) == 11
    assert await found.count() == 0
    with pytest.raises(TypeError):
        await found.delete([1])
    with pytest.raises(QueryError):
        await account.found("is:odd").count()


async def test_a_tag_with_a_quotation_mark_is_found(
    account: Account, inbox: MessageCollection
) -> None:
    await inbox.add_tags([1], ['5" floppy'])
    assert [m.uid for m in await account.tagged('5" floppy').window()] == [1]
    with pytest.raises(NotPermitted):
        account.tagged("")


async def test_a_message_keeps_its_ids_wherever_it_goes(
    account: Account, inbox: MessageCollection, archive: MessageCollection
) -> None:
    message = await inbox.by_uid(1)
    assert message is not None
    ids = message.id, message.row_id
    await message.move_to(archive)
    assert (message.mailbox_id, message.uid) == ("archive", 3)
    assert (message.id, message.row_id) == ids
    await message.copy_to(inbox)
    copies = await account.messages([message.id])
    assert [m.mailbox_id for m in copies] == ["archive", "inbox"]
    assert len({m.row_id for m in copies}) == 2
    first = await account.message(message.id)
    assert first is not None
    await first.delete()
    assert [m.mailbox_id for m in await account.messages([message.id])] == [copies[1].mailbox_id]
    assert await account.messages([]) == []
    await copies[1].delete()
    assert await account.message(message.id) is None


async def test_a_message_that_was_moved_by_others_is_still_changed(
    inbox: MessageCollection, archive: MessageCollection
) -> None:
    message = await inbox.by_uid(1)
    assert message is not None
    await inbox.move_to([1], archive)
    await message.add_tags("found", "work")
    assert (message.mailbox_id, message.tags) == ("archive", ("found", "work"))
    await message.set_tags("work")
    await message.remove_tags("Work")
    await message.set_flags("\\Seen", "\\Flagged")
    await message.remove_flags("\\Seen")
    assert message.flags == ("\\Flagged",)
    await archive.move_to([message.uid], inbox)
    await message.copy_to(archive)
    await inbox.delete(await inbox.rows())
    for attempt in (message.refresh(), message.add_flags("\\Seen"), message.move_to(archive)):
        with pytest.raises(NoSuchMessage):
            await attempt
