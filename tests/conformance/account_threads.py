"""What every account must say of threads and contacts; used like `AccountBackendSuite`, beside it."""

from __future__ import annotations

import pytest

from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    INBOX,
    AccountBackend,
    MailboxId,
    NewMessage,
    NoSuchMailbox,
    NoSuchMessage,
    RowId,
)
from leap.mail.threads.model import ThreadId

ARCHIVE, SENT, JUNK, DRAFTS = map(MailboxId, ("archive", "sent", "junk", "drafts"))
DAY = 86_400


def letter(
    name: str,
    *references: str,
    subject: str = "The heron",
    sender: str = "Bob <bob@example.test>",
    to: str = "alice@example.test",
    day: int = 1,
    flags: tuple[str, ...] = (),
) -> NewMessage:
    """A message sent, and arrived, on a day of November 2026."""
    told = f"References: {' '.join(f'<{one}@x>' for one in references)}\r\n" if references else ""
    raw = (
        f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{name}@x>\r\n{told}"
        f"Date: {day:02} Nov 2026 10:00:00 +0000\r\n\r\nText.\r\n"
    )
    return NewMessage(raw=raw.encode(), flags=flags, internal_date=1_793_527_200 + day * DAY)


async def put(backend: AccountBackend, mailbox: MailboxId, *letters: NewMessage) -> list[RowId]:
    return [made.row_id for made in await backend.append(mailbox, list(letters))]


class ThreadsAndContactsSuite:
    """Inherit it and give it a fixture `backend`."""

    async def test_answers_are_in_one_thread_across_mailboxes(
        self, backend: AccountBackend
    ) -> None:
        [first, other] = await put(
            backend, INBOX, letter("a", day=1), letter("o", subject="Else", day=2)
        )
        [answer] = await put(backend, SENT, letter("b", "a", subject="Quite another", day=3))
        ids = await backend.thread_ids([answer, other, first])
        assert ids[0] == ids[2] != ids[1]
        found = await backend.thread_rows(ids[0])
        assert [(one.mailbox_id, one.row.row_id) for one in found] == [
            (INBOX, first),
            (SENT, answer),
        ]
        assert await backend.thread_rows(ThreadId("0" * 16)) == []
        assert await backend.thread_rows(ThreadId("no such thing")) == []

    async def test_of_one_second_the_message_that_answers_nothing_gives_the_subject(
        self, backend: AccountBackend
    ) -> None:
        for name, answer in (
            ("aa", "zz"),
            ("zb", "ab"),
        ):  # whichever comes first by any order of names
            await put(
                backend,
                INBOX,
                letter(answer, name, subject=f"Re: {name}"),
                letter(name, subject=name),
            )
        found = await backend.threads(INBOX)
        assert sorted(one.subject for one in found) == ["aa", "zb"]

    async def test_what_was_expunged_has_no_thread(self, backend: AccountBackend) -> None:
        [gone, stays] = await put(
            backend, INBOX, letter("b", "a", flags=("\\Deleted",)), letter("c", "b", day=2)
        )
        [before] = await backend.thread_ids([stays])
        await backend.expunge(INBOX)
        with pytest.raises(NoSuchMessage):
            await backend.thread_ids([stays, gone])
        [after] = await backend.thread_ids([stays])
        assert [one.row.row_id for one in await backend.thread_rows(after)] == [stays]
        assert before != after  # it was named after what only the other one referred to

    async def test_a_link_that_comes_later_joins_threads(self, backend: AccountBackend) -> None:
        rows = await put(backend, INBOX, letter("a", day=1), letter("c", "b", day=3))
        first, last = await backend.thread_ids(rows)
        assert first != last
        await put(backend, ARCHIVE, letter("b", "a", day=2))
        assert await backend.thread_ids(rows) == [first, first]
        assert len(await backend.thread_rows(last)) == 3  # the old id finds it still

    async def test_an_answer_that_says_not_to_what_follows_its_subject(
        self, backend: AccountBackend
    ) -> None:
        rows = await put(
            backend,
            INBOX,
            letter("a", day=1),
            letter("b", subject="the  Heron", day=2),
            letter("c", subject="RE: the heron (fwd)", day=3),
        )
        first, second, third = await backend.thread_ids(rows)
        assert first != second == third

    async def test_threads_are_listed_newest_first(self, backend: AccountBackend) -> None:
        seen = ("\\Seen",)
        rows = await put(
            backend,
            INBOX,
            letter("a", day=1, flags=seen),
            letter("b", "a", sender="carol@example.test", subject="Re: The heron", day=5),
            letter("o", subject="Else", day=3),
        )
        await put(backend, SENT, letter("c", "a", sender="Alice <alice@example.test>", day=4))
        await backend.copy(INBOX, [(await backend.rows(INBOX))[1].uid], ARCHIVE)
        heron, other = await backend.threads()
        [its_id, _, other_id] = await backend.thread_ids(rows)
        assert (heron.thread_id, other.thread_id) == (its_id, other_id)
        assert heron.subject == "The heron"
        assert (heron.messages, heron.unseen) == (3, 2)  # a copy is the same message
        assert heron.participants == ("Bob", "Alice", "carol@example.test")
        assert heron.newest == 1_793_527_200 + 5 * DAY
        await backend.store_flags(
            INBOX, [row.uid for row in await backend.rows(INBOX)], "add", seen
        )
        assert [one.unseen for one in await backend.threads()] == [1, 0]

    async def test_threads_of_a_mailbox_and_windows_of_them(self, backend: AccountBackend) -> None:
        await put(backend, INBOX, *(letter(f"m{day}", day=day, subject="") for day in range(1, 6)))
        await put(backend, SENT, letter("answer", "m2", day=9, subject=""))
        everything = await backend.threads()
        assert [one.messages for one in everything] == [2, 1, 1, 1, 1]
        assert await backend.threads(SENT) == everything[:1]
        assert await backend.threads(ARCHIVE) == []
        assert await backend.threads(INBOX) == everything
        assert await backend.threads(None, 2, 1) == everything[1:3]
        assert await backend.threads(INBOX, 2, 4) == everything[4:]
        with pytest.raises(NoSuchMailbox):
            await backend.threads(MailboxId("nowhere"))

    async def test_contacts_are_ranked_by_use(self, backend: AccountBackend) -> None:
        await put(
            backend,
            SENT,
            letter("1", sender="alice@example.test", to="Carol <CAROL@example.test>", day=1),
            letter("2", sender="alice@example.test", to="carol@example.test, dan@x.test", day=2),
        )
        await put(
            backend,
            INBOX,
            *(letter(f"b{day}", day=day) for day in (1, 2, 3)),
            letter("c", sender="Caro <carol@example.test>", day=4),
        )
        await put(backend, JUNK, letter("j", sender="Prince <prince@example.test>"))
        await put(backend, DRAFTS, letter("d", sender="alice@example.test", to="eve@example.test"))
        start = 1_793_527_200
        carol, dan, bob = await backend.contacts()
        assert carol == ContactUse(
            address="carol@example.test",
            name="Caro",
            written_to=2,
            written_from=1,
            last=start + 4 * DAY,
        )
        assert (dan.address, dan.written_to, dan.written_from) == ("dan@x.test", 1, 0)
        assert (bob.name, bob.written_to, bob.written_from) == ("Bob", 0, 3)
        assert await backend.contacts("CARO") == await backend.contacts(limit=1) == [carol]
        assert await backend.contacts("bo") == [bob]
        assert await backend.contacts("ob") == []

    async def test_contacts_follow_what_is_moved_and_deleted(self, backend: AccountBackend) -> None:
        await put(
            backend,
            INBOX,
            letter("1", day=1),
            letter("2", sender="Robert <bob@example.test>", day=2),
        )
        uids = [row.uid for row in await backend.rows(INBOX)]
        await backend.copy(INBOX, uids, ARCHIVE)
        [bob] = await backend.contacts()
        assert (bob.name, bob.written_from) == ("Robert", 2)
        await backend.move(INBOX, uids, JUNK)
        assert await backend.contacts() == [bob]  # the copies count still
        archived = [row.uid for row in await backend.rows(ARCHIVE)]
        await backend.move(ARCHIVE, archived[1:], JUNK)
        [bob] = await backend.contacts()
        assert (bob.name, bob.written_from) == ("Bob", 1)
        await backend.store_flags(ARCHIVE, archived, "add", ["\\Deleted"])
        await backend.expunge(ARCHIVE)
        assert await backend.contacts() == []
