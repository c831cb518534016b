"""What a session knows of its client and the selected mailbox, and how it tells what changed there.

Invariants: untagged answers about the selected mailbox are written only by `announce`, `FETCH` and `STORE`;
EXPUNGE only when `announce` is told that it may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from leap.mail.contract import AccountBackend, MailboxId, MessageRow, NoSuchMailbox, RowId, Uid
from leap.mail.imap.session.progress import INTERVAL, Progress
from leap.mail.imap.session.replies import Bad, Goodbye, No
from leap.mail.imap.session.watching import Watching
from leap.mail.imap.tracker import SYSTEM_FLAGS, MailboxView, SeqNum
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.imap.wire.numbers import NumberSet, format_set
from leap.mail.imap.wire.responses import flag_list
from leap.mail.message import Message

Authenticator = Callable[[str, str], Awaitable[AccountBackend | None]]
LineTaker = Callable[[bytes], Awaitable[None]]


class Output(Protocol):
    """Where a session writes; `drain` waits while the client is slow to read."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None:
        """Ends the connection once all that was written is sent."""


class Announcing:
    """The state a session is in, and the announcements of its selected mailbox."""

    def __init__(
        self,
        output: Output,
        authenticate: Authenticator,
        *,
        limits: Limits = DEFAULT_LIMITS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clear_text_login: bool = True,
    ) -> None:
        self.output = output
        self.authenticator = authenticate
        self.limits = limits
        self.sleep = sleep
        self.clear_text_login = clear_text_login
        self.account: AccountBackend | None = None
        self.view: MailboxView | None = None
        self.read_only = False
        self.enabled: set[str] = set()  # RFC 5161
        self.saved: tuple[Uid, ...] = ()  # "$" (RFC 5182)
        self.tells_highest = False  # HIGHESTMODSEQ is due in the tagged answer of this command
        self.begins_modseq = (
            False  # HIGHESTMODSEQ is due untagged: the client asks for modseqs from now on
        )
        self.expected_line: LineTaker | None = None
        self.failed_logins = 0
        self.sliced_message: tuple[RowId, Message] | None = None  # the last one fetched in slices
        self.stale = False  # the selected mailbox changed since `refresh`
        self.idling = False
        self.ended = False
        self.progress: Progress | None = None  # of the command that is being carried out
        self.progress_interval = INTERVAL
        self.watching = Watching()

    # -- states (RFC 3501 3)

    def signed_in(self) -> AccountBackend:
        if self.account is None:
            raise Bad("Log in first.")
        return self.account

    def selected(self) -> MailboxView:
        self.signed_in()
        if self.view is None:
            raise Bad("Select a mailbox first.")
        return self.view

    def writable(self) -> MailboxView:
        view = self.selected()
        if self.read_only:
            raise No("The mailbox was opened read-only.", b"READ-ONLY")
        return view

    @property
    def condstore(self) -> bool:
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        return "QRESYNC" in self.enabled

    @property
    def uid_only(self) -> bool:
        return "UIDONLY" in self.enabled

    @property
    def rev2(self) -> bool:
        """Whether IMAP4rev2 is spoken: no \\Recent, ESEARCH for SEARCH, names in NFC (RFC 9051 E)."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether names are UTF-8 in both directions (RFC 9755 3, RFC 9051 5.1)."""
        return "UTF8=ACCEPT" in self.enabled or self.rev2

    def enable_condstore(self) -> None:
        """The client showed that it knows modification sequences (RFC 7162 3.1, CONDSTORE-enabling commands)."""
        if not self.condstore:
            self.enabled.add("CONDSTORE")
            if self.view is not None:
                self.view.tells_modseq = True
                self.begins_modseq = self.stale = True

    # -- the selected mailbox

    def untagged(self, line: bytes) -> None:
        self.output.write(b"* " + line + b"\r\n")

    def resolve(self, numbers: NumberSet, by_uid: bool, *, strict: bool = True) -> list[SeqNum]:
        """The messages of a set. Raises Bad for sequence numbers there are not, if `strict`.

        A search for messages that are not there finds none (RFC 9051 6.4.4).
        """
        view = self.selected()
        if numbers.saved:
            return view.find_all(self.saved)
        try:
            return view.resolve(numbers, by_uid, strict=strict)
        except IndexError:
            raise Bad("There is no message with that number.") from None

    async def refresh(self) -> None:
        """Learns what changed in the selected mailbox since the last time; tells nothing yet."""
        view = self.view
        if view is None:
            return
        account = self.signed_in()
        self.stale = False
        try:
            # The status comes first: what happens between these three questions is asked for again.
            status = await account.status(view.mailbox_id)
            if status.uid_validity != view.uid_validity:
                raise Goodbye("The mailbox was made anew; please reconnect.")
            if status.highest_modseq > view.modseq:
                gone = await account.expunged(view.mailbox_id, view.modseq)
                rows = await account.rows(view.mailbox_id, changed_since=view.modseq)
                view.learn(rows, gone)
                view.modseq = max(view.modseq, status.highest_modseq)
                if self.read_only and not self.rev2:
                    view.learn_recent(status)
                elif view.has_arrivals and not self.rev2:
                    view.recent.update(await account.claim_recent(view.mailbox_id))
        except NoSuchMailbox:
            raise Goodbye("The selected mailbox was deleted.") from None

    def announce(self, *, expunges: bool) -> None:
        """Tells the client what was learned: EXPUNGE only where it may be, EXISTS only for arrivals."""
        view = self.view
        if view is None:
            return
        lines: list[bytes] = []
        watching = self.watching
        # What the client did itself it is told in any case (`tells_highest`: it has just expunged)
        expunges = self.tells_highest or (
            (expunges or watching.at_once) and watching.tells("MessageExpunge")
        )
        if expunges and view.withholds:
            if self.qresync or self.uid_only:  # RFC 7162 3.2.10, RFC 9586 3.6
                lines.append(b"* VANISHED " + format_set(view.take_vanished()) + b"\r\n")
            else:
                lines.extend(b"* %d EXPUNGE\r\n" % number for number in view.take_expunges())
        before = len(view)
        if watching.tells("MessageNew") and view.take_arrivals():
            watching.announced(view.uid(SeqNum(n)) for n in range(before + 1, len(view) + 1))
            lines.append(b"* %d EXISTS\r\n" % len(view))
            if not self.rev2:
                lines.append(b"* %d RECENT\r\n" % view.recent_count)
        if watching.tells("FlagChange"):
            if view.take_keywords():
                lines.extend(self.flags_lines(view))
            lines.extend(self.flags_of(view, n, view.row(n)) for n in view.take_changes())
        if watching.tells_all and not view.withholds:
            view.told = view.modseq
        # RFC 7162 3.2: a client must not take a modseq it was told for the highest while it misses an expunge
        elif watching.tells_all and self.condstore:
            self.begins_modseq = True
        if self.begins_modseq:
            self.begins_modseq = False
            lines.append(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % view.told)
        if lines:
            self.output.write(b"".join(lines))

    def flags_lines(self, view: MailboxView) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS (RFC 3501 7.2.6, 7.1)."""
        known = (*SYSTEM_FLAGS, *view.keywords)
        permanent = () if self.read_only else (*known, "\\*")
        return [
            b"* FLAGS " + flag_list(known) + b"\r\n",
            b"* OK [PERMANENTFLAGS " + flag_list(permanent) + b"] Flags kept\r\n",
        ]

    def flags_of(self, view: MailboxView, number: SeqNum, row: MessageRow) -> bytes:
        modseq = b" MODSEQ (%d)" % row.modseq if self.condstore else b""
        flags = flag_list(view.flags(row))
        return self.answer_head(number, row.uid) + b" FLAGS %s%s)\r\n" % (flags, modseq)

    def answer_head(self, number: SeqNum, uid: Uid) -> bytes:
        """How what is told of one message begins; a space, more and ")" follow (RFC 9586 3.3)."""
        if self.uid_only:
            return b"* %d UIDFETCH (UID %d" % (uid, uid)
        return b"* %d FETCH (UID %d" % (number, uid)

    def unselect(self) -> None:
        self.view = None
        self.saved = ()  # RFC 5182 2.1
        self.begins_modseq = False
        self.sliced_message = None
        self.stale = False
        self.read_only = False

    def is_selected(self, mailbox_id: MailboxId) -> bool:
        return self.view is not None and self.view.mailbox_id == mailbox_id
