"""What every account must say of the order of messages; used like `AccountBackendSuite`, beside it."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, AccountBackend, MailboxId, NewMessage, NoSuchMailbox, Uid
from leap.mail.sorting.model import SortField, SortKey, ThreadLine

NOVEMBER = 1_793_527_200


def letter(
    subject: str = "",
    sender: str = "bob@example.test",
    to: str = "alice@example.test",
    cc: str = "",
    date: str = "Mon, 02 Nov 2026 10:00:00 +0000",
    arrived: int = 0,
    body: str = "",
    extra: str = "",
) -> NewMessage:
    """Written into a header as it is."""
    fields = (("From", sender), ("To", to), ("Cc", cc), ("Subject", subject), ("Date", date))
    header = "".join(f"{name}: {value}\r\n" for name, value in fields if value)
    raw = f"{header}{extra}\r\n{body}\r\n".encode()
    return NewMessage(raw=raw, internal_date=NOVEMBER + arrived)


async def order(
    backend: AccountBackend, letters: list[NewMessage], *keys: SortField | SortKey
) -> list[int]:
    await backend.append(INBOX, letters)
    uids = [row.uid for row in await backend.rows(INBOX)]
    asked = [key if isinstance(key, SortKey) else SortKey(key) for key in keys]
    return list(await backend.sorted_uids(INBOX, uids, asked))


class SortingSuite:
    """Inherit it and give it a fixture `backend`."""

    async def test_subjects_are_sorted_without_the_marks_of_answers(
        self, backend: AccountBackend
    ) -> None:
        letters = [
            letter("Re: [list] zebra"),
            letter("=?utf-8?q?=C3=89clair?="),
            letter("Fwd: alpha (fwd)"),
            letter("ZEBRA"),
            letter(""),
            letter("eclair"),
            letter("_under"),
        ]
        # Decomposed, "É" is an "E" with an accent behind it; "_" stands behind "Z" (RFC 5051)
        assert await order(backend, letters, "subject") == [5, 3, 6, 2, 1, 4, 7]

    async def test_addresses_are_sorted_by_their_local_part(self, backend: AccountBackend) -> None:
        letters = [
            letter(sender="Aaron <zoe@a.test>", to="m@x.test", cc="q@x.test"),
            letter(sender="Zed <ann@z.test>, b@x.test", to="", cc="p@x.test"),
            letter(sender="Carl <Mia@z.test>", to="team: k@x.test;", cc=""),
        ]
        assert await order(backend, letters, "from") == [2, 3, 1]
        uids = [Uid(1), Uid(2), Uid(3)]
        assert await backend.sorted_uids(INBOX, uids, [SortKey("to")]) == [2, 1, 3]
        assert await backend.sorted_uids(INBOX, uids, [SortKey("cc")]) == [3, 2, 1]

    async def test_display_names_are_sorted_decoded(self, backend: AccountBackend) -> None:
        """RFC 5957: without a name the address; of a group its name."""
        letters = [
            letter(sender="=?utf-8?q?=C3=81gnes?= <z@x.test>", to="Zoe <a@x.test>"),
            letter(sender="bert@x.test", to="team: Ann <z@x.test>;"),
            letter(sender='"Anna B." <y@x.test>', to="mia@x.test"),
            letter(sender="", to=""),
        ]
        assert await order(backend, letters, "displayfrom") == [4, 3, 1, 2]
        uids = [Uid(n) for n in range(1, 5)]
        assert await backend.sorted_uids(INBOX, uids, [SortKey("displayto")]) == [4, 3, 2, 1]

    async def test_dates_are_compared_in_one_zone(self, backend: AccountBackend) -> None:
        """RFC 5256 2.2: where the Date field says nothing, the internal date."""
        letters = [
            letter(date="Mon, 02 Nov 2026 10:00:00 +0200", arrived=300),
            letter(date="Mon, 02 Nov 2026 09:00:00 +0000", arrived=200),
            letter(date="no date", arrived=-86_400 * 9),
        ]
        assert await order(backend, letters, "date") == [3, 1, 2]
        uids = [Uid(1), Uid(2), Uid(3)]
        assert await backend.sorted_uids(INBOX, uids, [SortKey("arrival")]) == [3, 2, 1]

    async def test_equal_messages_stay_in_the_order_of_the_mailbox(
        self, backend: AccountBackend
    ) -> None:
        letters = [
            letter("b", body="12345"),
            letter("a", body="123"),
            letter("b", body="123"),
            letter("a", body="12345"),
        ]
        down = SortKey("subject", descending=True)
        assert await order(backend, letters, down) == [1, 3, 2, 4]
        uids = [Uid(n) for n in range(1, 5)]
        assert await backend.sorted_uids(INBOX, uids, [down, SortKey("size")]) == [3, 1, 2, 4]
        smallest = [SortKey("size"), SortKey("subject")]
        assert await backend.sorted_uids(INBOX, uids, smallest) == [2, 3, 4, 1]

    async def test_only_what_was_asked_for_and_is_there_is_sorted(
        self, backend: AccountBackend
    ) -> None:
        assert await order(backend, [letter("c"), letter("b"), letter("a")], "subject") == [3, 2, 1]
        key = [SortKey("subject")]
        assert await backend.sorted_uids(INBOX, [Uid(1), Uid(3), Uid(9)], key) == [3, 1]
        await backend.move(INBOX, [Uid(3)], MailboxId("archive"))
        assert await backend.sorted_uids(INBOX, [Uid(1), Uid(2), Uid(3)], key) == [2, 1]
        await backend.append(INBOX, [letter("bb")])
        uids = [row.uid for row in await backend.rows(INBOX)]
        assert await backend.sorted_uids(INBOX, uids, key) == [2, 4, 1]
        assert await backend.sorted_uids(MailboxId("archive"), [Uid(1)], key) == [1]
        with pytest.raises(NoSuchMailbox):
            await backend.sorted_uids(MailboxId("nowhere"), uids, key)

    async def test_the_forest_of_some_messages(self, backend: AccountBackend) -> None:
        ids = [f"Message-ID: <{n}@x>\r\n" for n in range(6)]
        await backend.append(
            INBOX,
            [
                letter("Herons", extra=ids[0]),
                letter("Re: Herons", extra=ids[1] + "References: <0@x>\r\n"),
                letter("Re: Herons", extra=ids[2] + "References: <0@x> <1@x>\r\n"),
                letter("Owls", extra=ids[3], date="Tue, 03 Nov 2026 10:00:00 +0000"),
                letter("Re: owls", extra=ids[4] + "In-Reply-To: <9@x>\r\n"),
            ],
        )
        uids = [Uid(n) for n in range(1, 6)]
        assert await backend.threaded_uids(INBOX, uids, "references") == [
            ThreadLine(0, 1),
            ThreadLine(1, 2),
            ThreadLine(2, 3),
            ThreadLine(0, 4),
            ThreadLine(1, 5),
        ]
        assert await backend.threaded_uids(INBOX, [Uid(1), Uid(3), Uid(5)], "references") == [
            ThreadLine(0, 1),
            ThreadLine(1, 3),
            ThreadLine(0, 5),
        ]
        assert await backend.threaded_uids(INBOX, uids, "orderedsubject") == [
            ThreadLine(0, 1),
            ThreadLine(1, 2),
            ThreadLine(1, 3),
            ThreadLine(0, 5),
            ThreadLine(1, 4),
        ]
        assert await backend.threaded_uids(INBOX, [], "references") == []
