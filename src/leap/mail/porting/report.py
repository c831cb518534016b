"""What an import or export did, in numbers, and what was odd about it.

Kinds of oddities:
  unreadable    a file that cannot be read, or is no ordinary file (a link, a pipe, a socket)
  not-mail      it is empty, or has no header fields
  too-large     above the limit of one message
  refused       the account did not take it
  duplicate     the same octets twice in one mailbox of the source
  mixed-lines   both LF and CRLF end its lines; the octets of the source are kept beside what is served
  renamed       a folder's name cannot be a mailbox's (or a file's), so another one stands for it
  flag          a flag or keyword that cannot be kept
  expunged      the program that wrote the mbox had deleted it already
  skipped       a folder or file that holds no mail of its own
  wrong-length  a Content-Length that does not lead to the end of its message
  connection    the server was lost, and asked again
  unavailable   a content that is at the provider, which cannot be reached
  no-line-end   an mbox ends each message with a line end, which this one had not
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from leap.mail.porting.found import Oddity

MOST_TOLD = 200  # oddities of one kind told in full; all are counted
REFUSALS = ("unreadable", "not-mail", "too-large", "refused", "unavailable")


@dataclass
class PortingReport:
    """Counts of messages: `done` went in (or out), `present` were there from before."""

    done: int = 0
    present: int = 0
    deleted: int = 0  # imported before and deleted since: they stay deleted
    octets: int = 0
    mailboxes: dict[str, int] = field(default_factory=dict)  # name -> messages that went in or out
    odd: Counter[str] = field(default_factory=Counter)
    oddities: list[Oddity] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)  # mbox file -> the kind it was read as

    def tell(self, oddity: Oddity) -> None:
        self.odd[oddity.kind] += 1
        if self.odd[oddity.kind] <= MOST_TOLD:
            self.oddities.append(oddity)

    def add(self, mailbox: str, messages: int, octets: int) -> None:
        self.mailboxes[mailbox] = self.mailboxes.get(mailbox, 0) + messages
        self.done += messages
        self.octets += octets

    @property
    def refused(self) -> int:
        """Messages and files that stayed out."""
        return sum(self.odd[kind] for kind in REFUSALS)

    def as_json(self) -> dict[str, Any]:
        return {
            "present": self.present,
            "deleted": self.deleted,
            "duplicates": self.odd["duplicate"],
            "refused": [
                {"what": one.where, "why": one.sentence}
                for one in self.oddities
                if one.kind in REFUSALS
            ],
            "octets": self.octets,
            "mailboxes": self.mailboxes,
            "mbox_kinds": self.kinds,
            "odd": dict(self.odd),
            "oddities": [one._asdict() for one in self.oddities],
        }
