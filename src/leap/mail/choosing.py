"""Changing many messages at once, in one mailbox or in several: what `MessageCollection` and `FoundMessages` share.

Messages are chosen by themselves, by their rows, or, within one mailbox, by their uids. What is done to those of one
mailbox is one transaction. Those that were expunged or moved away meanwhile are passed over (RFC 9051 6.4.9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from leap.mail.contract import (
    AccountBackend,
    FlagOp,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MessageRow,
    Transferred,
    Uid,
)
from leap.mail.tags import keyword_of, tag_of

LAST_UID = 2**32 - 1  # RFC 9051 2.3.1.1


class Placed(Protocol):
    """A message in a mailbox: `Message` or `FoundMessage`."""

    @property
    def mailbox_id(self) -> MailboxId: ...
    @property
    def row(self) -> MessageRow: ...


class Target(Protocol):
    """Where messages go: a `MessageCollection`."""

    @property
    def mailbox(self) -> MailboxInfo: ...


Chosen = Iterable[Placed | FoundMessage | MessageRow | int]


class Choosing:
    """Bulk changes of chosen messages."""

    backend: AccountBackend

    def _group(self, chosen: Chosen) -> Mapping[MailboxId, Sequence[Uid]]:
        """The uids of the chosen messages by mailbox."""
        raise NotImplementedError

    async def set_flags(self, chosen: Chosen, flags: Sequence[str]) -> list[MessageRow]:
        """Gives messages these flags and no others, keywords and tags included; answers their rows then."""
        return await self._store(chosen, "set", flags)

    async def add_flags(self, chosen: Chosen, flags: Sequence[str]) -> list[MessageRow]:
        """Adds flags, as `\\Seen`; answers the rows then. Raises NotPermitted for what can be no flag."""
        return await self._store(chosen, "add", flags)

    async def remove_flags(self, chosen: Chosen, flags: Sequence[str]) -> list[MessageRow]:
        """Takes flags away; answers the rows then."""
        return await self._store(chosen, "remove", flags)

    async def set_tags(self, chosen: Chosen, tags: Sequence[str]) -> list[MessageRow]:
        """Gives messages these tags and no others, all else about them staying; answers the rows then.

        New tags come in one transaction, the others go in a second. Raises NotPermitted for what can be no tag.
        """
        keywords = [keyword_of(tag) for tag in tags]
        keep = {keyword.lower() for keyword in keywords}
        out: list[MessageRow] = []
        for mailbox_id, uids in self._group(chosen).items():
            rows = (await self.backend.store_flags(mailbox_id, uids, "add", keywords)).rows
            surplus = {
                flag
                for row in rows
                for flag in row.flags
                if tag_of(flag) is not None and flag.lower() not in keep
            }
            if surplus:
                rows = (
                    await self.backend.store_flags(mailbox_id, uids, "remove", sorted(surplus))
                ).rows
            out += rows
        return out

    async def add_tags(self, chosen: Chosen, tags: Sequence[str]) -> list[MessageRow]:
        """Adds tags; answers the rows then. Raises NotPermitted for what can be no tag."""
        return await self._store(chosen, "add", [keyword_of(tag) for tag in tags])

    async def remove_tags(self, chosen: Chosen, tags: Sequence[str]) -> list[MessageRow]:
        """Takes tags away, in whatever letter case a mail program has put them on; answers the rows then."""
        keywords = {keyword_of(tag) for tag in tags}
        lower = {keyword.lower() for keyword in keywords}
        out: list[MessageRow] = []
        for mailbox_id, uids in self._group(chosen).items():
            rows = (
                await self.backend.store_flags(mailbox_id, uids, "remove", sorted(keywords))
            ).rows
            spelled = {flag for row in rows for flag in row.flags if flag.lower() in lower}
            if spelled:
                rows = (
                    await self.backend.store_flags(mailbox_id, uids, "remove", sorted(spelled))
                ).rows
            out += rows
        return out

    async def copy_to(self, chosen: Chosen, target: Target) -> Transferred:
        """Copies messages into a mailbox; their octets are not stored again. Raises NoSuchMailbox.

        The answer has the uids there, in the order of mailboxes and their uids.
        """
        return await self._transfer(chosen, target, moving=False)

    async def move_to(self, chosen: Chosen, target: Target) -> Transferred:
        """Moves messages into a mailbox: they keep their ids and get new uids. Raises NoSuchMailbox."""
        return await self._transfer(chosen, target, moving=True)

    async def delete(self, chosen: Chosen) -> int:
        """Removes messages for good, whatever their flags; answers how many went."""
        gone = 0
        for mailbox_id, uids in self._group(chosen).items():
            await self.backend.store_flags(mailbox_id, uids, "add", ["\\Deleted"])
            gone += len(await self.backend.expunge(mailbox_id, uids))
        return gone

    async def _store(self, chosen: Chosen, op: FlagOp, flags: Sequence[str]) -> list[MessageRow]:
        out: list[MessageRow] = []
        for mailbox_id, uids in self._group(chosen).items():
            out += (await self.backend.store_flags(mailbox_id, uids, op, list(flags))).rows
        return out

    async def _transfer(self, chosen: Chosen, target: Target, *, moving: bool) -> Transferred:
        into = target.mailbox.mailbox_id
        transfer = self.backend.move if moving else self.backend.copy
        validity, source, placed = 0, [], []  # type: ignore[var-annotated]
        for mailbox_id, uids in self._group(chosen).items():
            done = await transfer(mailbox_id, uids, into)
            validity = done.uid_validity
            source += done.source
            placed += done.target
        if not validity:
            validity = (await self.backend.status(into)).uid_validity
        return Transferred(uid_validity=validity, source=tuple(source), target=tuple(placed))


def grouped(chosen: Chosen, mailbox_id: MailboxId | None = None) -> dict[MailboxId, list[Uid]]:
    """The uids of chosen messages by mailbox; rows and uids are of `mailbox_id`.

    Raises TypeError for a row or uid where that is None, ValueError for a message of another mailbox.
    """
    out: dict[MailboxId, list[Uid]] = {}
    for one in chosen:
        if isinstance(one, (int, MessageRow)):
            if mailbox_id is None:
                raise TypeError("messages of several mailboxes are chosen by themselves")
            place, uid = mailbox_id, Uid(one) if isinstance(one, int) else one.uid
        else:
            place, uid = one.mailbox_id, one.row.uid
            if mailbox_id is not None and place != mailbox_id:
                raise ValueError("the message is in another mailbox")
        uids = out.setdefault(place, [])
        if 1 <= uid <= LAST_UID:  # what can be no uid is as one that is gone
            uids.append(uid)
    return out
