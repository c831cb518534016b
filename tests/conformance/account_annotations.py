"""What every account does with annotations (RFC 5464)."""

from __future__ import annotations

import asyncio

import pytest

from leap.mail.annotations.rules import MAX_ENTRIES, MAX_VALUE
from leap.mail.contract import (
    INBOX,
    AccountBackend,
    Change,
    InvalidName,
    MailboxId,
    NoSuchMailbox,
    TooLarge,
    TooManyAnnotations,
)
from tests.conformance.account_making import PATIENCE, close_stream

BAD_NAMES = (
    "",
    "comment",
    "/comment",
    "/shared",
    "/shared/",
    "/shared//a",
    "/shared/a/",
    "/shared/a*",
    "/shared/%",
    "/shared/a b",
    "/shared/ä",
    "/private/vendor",
    "/private/vendor/example",
)
COMMENT, VENDOR = "/shared/comment", "/private/vendor/example/colour"


class AnnotationSuite:
    """Part of `AccountBackendSuite`."""

    async def test_annotations_are_kept_changed_and_removed(self, backend: AccountBackend) -> None:
        for place in (None, INBOX):
            assert await backend.annotations(place) == {}
            await backend.annotate(place, {COMMENT: b"one", VENDOR: b"\x00\xff"})
            await backend.annotate(place, {COMMENT.upper(): b"two\r\nlines"})
            assert await backend.annotations(place) == {
                COMMENT: b"two\r\nlines",
                VENDOR: b"\x00\xff",
            }
            await backend.annotate(place, {COMMENT: None, "/private/nothing": None})
            assert await backend.annotations(place) == {VENDOR: b"\x00\xff"}
        assert await backend.annotations(MailboxId("archive")) == {}

    async def test_annotations_go_with_their_mailbox(self, backend: AccountBackend) -> None:
        made = await backend.create_mailbox("Work")
        await backend.annotate(made.mailbox_id, {COMMENT: b"mine"})
        await backend.rename_mailbox(made.mailbox_id, "Play")
        assert await backend.annotations(made.mailbox_id) == {COMMENT: b"mine"}
        await backend.delete_mailbox(made.mailbox_id)
        with pytest.raises(NoSuchMailbox):
            await backend.annotations(made.mailbox_id)
        with pytest.raises(NoSuchMailbox):
            await backend.annotate(made.mailbox_id, {COMMENT: b"ghost"})
        again = await backend.create_mailbox("Play")
        assert await backend.annotations(again.mailbox_id) == {}

    async def test_a_special_mailbox_that_comes_back_has_none(
        self, backend: AccountBackend
    ) -> None:
        await backend.annotate(MailboxId("junk"), {COMMENT: b"old"})
        await backend.delete_mailbox(MailboxId("junk"))
        made = await backend.create_mailbox("Junk", "\\Junk")
        assert await backend.annotations(made.mailbox_id) == {}

    async def test_inbox_keeps_them_when_it_is_renamed(self, backend: AccountBackend) -> None:
        await backend.annotate(INBOX, {COMMENT: b"both"})
        await backend.rename_mailbox(INBOX, "Old")
        old = {info.name: info.mailbox_id for info in await backend.list_mailboxes()}["Old"]
        assert await backend.annotations(INBOX) == {COMMENT: b"both"}
        assert await backend.annotations(old) == {COMMENT: b"both"}

    async def test_bad_names_of_annotations_are_refused(self, backend: AccountBackend) -> None:
        for name in (*BAD_NAMES, "/shared/" + "x" * 250):
            with pytest.raises(InvalidName):
                await backend.annotate(INBOX, {COMMENT: b"good", name: b"bad"})
        assert await backend.annotations(INBOX) == {}

    async def test_annotations_have_limits(self, backend: AccountBackend) -> None:
        await backend.annotate(INBOX, {COMMENT: b"x" * MAX_VALUE})
        with pytest.raises(TooLarge):
            await backend.annotate(INBOX, {COMMENT: b"x" * (MAX_VALUE + 1)})
        many: dict[str, bytes | None] = {f"/shared/{n}": b"" for n in range(MAX_ENTRIES - 1)}
        await backend.annotate(INBOX, many)
        with pytest.raises(TooManyAnnotations):
            await backend.annotate(INBOX, {COMMENT: b"", "/shared/more": b""})
        assert await backend.annotations(INBOX) == {COMMENT: b"x" * MAX_VALUE, **many}
        await backend.annotate(INBOX, {COMMENT: None, "/shared/more": b"instead"})

    async def test_changed_annotations_are_announced_by_name(self, backend: AccountBackend) -> None:
        stream = backend.changes()
        await backend.annotate(None, {COMMENT: b"a"})
        await backend.annotate(INBOX, {VENDOR: b"b", COMMENT: b"c"})
        await backend.annotate(INBOX, {VENDOR: b"b"})  # as it was
        await backend.annotate(INBOX, {COMMENT: None})
        await backend.annotate(MailboxId("sent"), {VENDOR: b"d"})
        seen: dict[MailboxId | None, set[str]] = {}
        async with asyncio.timeout(PATIENCE):
            while MailboxId("sent") not in seen:
                change: Change = await anext(stream)
                assert change.topic == "annotations"
                seen.setdefault(change.mailbox_id, set()).update(change.entries)
        assert seen == {None: {COMMENT}, INBOX: {COMMENT, VENDOR}, MailboxId("sent"): {VENDOR}}
        await close_stream(stream)
