"""Which mailboxes there are, from the documents of all devices, and where a row's mailbox shows. Pure.

Invariants:
* The answer depends on the documents alone: two devices with the same documents show the same list.
* No row is ever without a mailbox: one whose mailbox is deleted or unknown shows in INBOX.
* Of two mailboxes with one name the lowest id is shown, and holds the mail of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leap.mail.contract import (
    INBOX,
    InvalidName,
    MailboxExists,
    MailboxId,
    MailboxInfo,
    NoSuchMailbox,
    NotPermitted,
)
from leap.mail.model import DEFAULTS, mailbox_info

MAX_NAME = (
    1000  # octets of UTF-8: still fits an IMAP line of any program when written in modified UTF-7
)


# RFC 6154 2, RFC 8457 4
SPECIAL_USES = (
    "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent", "\\Trash",
)  # fmt: skip


def special_use_of(text: str) -> str:
    """The special use in its usual spelling. Raises NotPermitted for what is none."""
    for use in SPECIAL_USES:
        if use.lower() == text.lower():
            return use
    raise NotPermitted(f"A special use is one of {', '.join(SPECIAL_USES)}.")


@dataclass(frozen=True)
class Directory:
    """The mailboxes shown, and for every mailbox id that exists the id it is shown as."""

    shown: Mapping[MailboxId, MailboxInfo]
    shown_as: Mapping[MailboxId, MailboxId]

    @classmethod
    def of(cls, documents: Mapping[MailboxId, dict[str, Any] | None]) -> Directory:
        """From the contents of the documents that exist."""
        infos: list[MailboxInfo] = []
        for mailbox_id in sorted(DEFAULTS.keys() | documents.keys()):
            info = mailbox_info(mailbox_id, documents.get(mailbox_id))
            if info is not None:
                infos.append(info)
        by_name: dict[str, MailboxId] = {"INBOX": INBOX}
        shown: dict[MailboxId, MailboxInfo] = {}
        shown_as: dict[MailboxId, MailboxId] = {}
        for info in infos:  # ascending by id
            key = "INBOX" if info.name.upper() == "INBOX" else info.name  # RFC 9051 5.1
            winner = by_name.setdefault(key, info.mailbox_id)
            shown_as[info.mailbox_id] = winner
            if winner == info.mailbox_id:
                shown[info.mailbox_id] = info
        ordered = sorted(shown.values(), key=lambda info: (info.mailbox_id != INBOX, info.name))
        return cls({info.mailbox_id: info for info in ordered}, shown_as)

    def place(self, mailbox_id: str) -> MailboxId:
        """Where rows of that mailbox are shown."""
        return self.shown_as.get(MailboxId(mailbox_id), INBOX)

    def require(self, mailbox_id: MailboxId) -> MailboxInfo:
        """The mailbox; raises NoSuchMailbox."""
        info = self.shown.get(mailbox_id)
        if info is None:
            raise NoSuchMailbox("There is no such mailbox.")
        return info

    def same_name(self, mailbox_id: MailboxId) -> list[MailboxId]:
        """All ids shown as this one, itself among them."""
        return [one for one, winner in self.shown_as.items() if winner == mailbox_id]

    def find_name(self, name: str) -> MailboxInfo | None:
        if name.upper() == "INBOX":
            return self.shown[INBOX]
        return next((info for info in self.shown.values() if info.name == name), None)

    def check_new_name(self, name: str) -> None:
        """Raises InvalidName or MailboxExists unless a mailbox may be called so."""
        check_name(name)
        if self.find_name(name) is not None:
            raise MailboxExists("A mailbox of that name exists.")

    def renamed(self, mailbox_id: MailboxId, name: str) -> Sequence[tuple[MailboxId, str]]:
        """(id, new name) of a mailbox and its inferiors, for RENAME (RFC 9051 6.3.6); raises what forbids it."""
        info = self.require(mailbox_id)
        self.check_new_name(name)
        prefix = info.name + "/"
        if name.startswith(prefix):
            raise InvalidName("A mailbox cannot become its own inferior.")
        out = [(one, name) for one in self.same_name(mailbox_id)]
        for inferior in self.shown.values():
            if inferior.name.startswith(prefix):
                new = f"{name}/{inferior.name[len(prefix) :]}"
                self.check_new_name(new)
                out += [(one, new) for one in self.same_name(inferior.mailbox_id)]
        return out


def check_name(name: str) -> None:
    """Raises InvalidName for a name no mailbox may have."""
    if not name:
        raise InvalidName("A mailbox needs a name.")
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise InvalidName(f"A mailbox name has at most {MAX_NAME} octets.")
    if any(not level or level != level.strip() for level in name.split("/")):
        raise InvalidName(
            'No level of a mailbox name, between "/" and "/", is empty or ends in space.'
        )
    if any(
        ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 or c in "*%" for c in name
    ):
        raise InvalidName('A mailbox name has no control characters and neither "*" nor "%".')
