"""What every account finds."""

from __future__ import annotations

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    MailboxId,
    QueryError,
    RowId,
)
from leap.mail.tags import keyword_of
from tests.conformance.account_making import (
    ENCODED,
    PLAIN,
    new,
)


class SearchSuite:
    """Part of `AccountBackendSuite`."""

    async def test_text_is_found_as_people_read_it(self, backend: AccountBackend) -> None:
        [plain, encoded] = [a.uid for a in await backend.append(INBOX, [new(PLAIN), new(ENCODED)])]
        both = [plain, encoded]
        search = backend.search_text
        assert await search(INBOX, both, "body", "HERON") == [plain]
        assert await search(INBOX, both, "body", "örEGRUND") == [encoded]
        assert await search(INBOX, both, "body", "plain words") == []
        assert await search(INBOX, both, "text", "plain words") == [plain]
        assert await search(INBOX, both, "text", "grüße") == [encoded]
        assert await search(INBOX, both, "text", "nothing of this") == []
        assert await search(INBOX, [encoded], "body", "heron") == []
        assert await search(INBOX, both, "body", "ero") == [plain]
        assert await search(INBOX, both, "body", "oregrund") == [encoded]
        assert await search(INBOX, both, "from", "JURGEN") == [encoded]
        assert await search(INBOX, both, "subject", "plain  words") == [plain]
        assert await search(INBOX, both, "to", "example.test") == both
        assert await search(INBOX, both, "cc", "bob") == await search(INBOX, both, "bcc", "") == []

    async def test_a_header_field_is_found_by_its_name_and_decoded_text(
        self, backend: AccountBackend
    ) -> None:
        [plain, encoded] = [a.uid for a in await backend.append(INBOX, [new(PLAIN), new(ENCODED)])]
        both = [encoded, plain]
        search = backend.search_header
        assert await search(INBOX, both, "from", "jurgen") == [encoded]
        assert await search(INBOX, both, "SUBJECT", "plain  words") == [plain]
        assert await search(INBOX, both, "To", "") == both[::-1]
        assert await search(INBOX, [encoded], "To", "") == [encoded]
        assert await search(INBOX, both, "X-None", "") == []
        assert await search(INBOX, both, "to", "plain words") == []

    async def test_search_answers_of_all_mailboxes_newest_first(
        self, backend: AccountBackend
    ) -> None:
        archive = MailboxId("archive")
        [plain] = await backend.append(INBOX, [new(PLAIN, at=1_700_000_000)])
        [encoded] = await backend.append(archive, [new(ENCODED, "\\Seen", at=1_800_000_000)])

        async def found(query: str, limit: int = 50) -> list[RowId]:
            return [one.row.row_id for one in (await backend.search(query, limit)).found]

        assert await found("") == await found("to:bob") == [encoded.row_id, plain.row_id]
        assert await found("heron OR reiher") == [encoded.row_id, plain.row_id]
        assert await found("from:jurgen GRÜSSE") == [encoded.row_id]
        assert await found("in:inbox") == await found("is:unread") == [plain.row_id]
        assert await found("-heron") == await found("after:2027-01-01") == [encoded.row_id]
        assert await found('"stands still" has:attachment') == []
        first = await backend.search("to:bob", 1)
        assert first.more
        assert first.found[0].mailbox_id == archive
        assert first.found[0].row.flags == ("\\Seen",)
        with pytest.raises(QueryError, match="is: comes one of"):
            await backend.search("is:odd")

    async def test_answers_come_page_by_page(self, backend: AccountBackend) -> None:
        made = await backend.append(INBOX, [new(at=1_700_000_000 + at) for at in range(5)])
        newest = [one.row_id for one in made][::-1]

        async def page(offset: int, limit: int = 2) -> tuple[list[RowId], bool]:
            result = await backend.search("heron", limit, offset)
            return [one.row.row_id for one in result.found], result.more

        assert await page(0) == (newest[:2], True)
        assert await page(2) == (newest[2:4], True)
        assert await page(4) == (newest[4:], False)
        assert await page(6) == ([], False)

    async def test_what_fits_is_counted_exactly(self, backend: AccountBackend) -> None:
        archive = MailboxId("archive")
        await backend.append(INBOX, [new(PLAIN, "$Work"), new(PLAIN, "\\Seen"), new(ENCODED)])
        await backend.append(archive, [new(PLAIN, "\\Seen", "$Work", at=1_600_000_000)])
        for query, messages, unseen in (
            ("", 4, 2),
            ("heron", 3, 1),
            ("in:archive", 1, 0),
            ("tag:$work", 2, 1),
            ("-tag:$work is:unread", 1, 1),
            ("before:2021-01-01", 1, 0),
            ("heron in:inbox", 2, 1),
            ("nothing of this", 0, 0),
        ):
            counted = await backend.count(query)
            assert (counted.messages, counted.unseen) == (messages, unseen), query
            assert counted.unsearched == 0
        with pytest.raises(QueryError):
            await backend.count("is:odd")

    async def test_a_tag_is_searched_as_people_write_it(self, backend: AccountBackend) -> None:
        [made] = await backend.append(INBOX, [new(PLAIN, keyword_of("zu erledigen"))])
        await backend.append(INBOX, [new(PLAIN, "other")])
        for query in ('tag:"zu erledigen"', 'tag:"Zu Erledigen"', "tag:zu_erledigen"):
            [found] = (await backend.search(query)).found
            assert found.row.row_id == made.row_id
