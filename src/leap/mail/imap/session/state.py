"""What every family of commands needs of a session: its output, account, selected mailbox, and the announcements.

Invariants: untagged answers about the selected mailbox are written only by `announce`, `FETCH` and `STORE`;
EXPUNGE only when `announce` is told that it may be.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from leap.mail.contract import (
    AccountBackend,
    AccountError,
    Change,
    MailboxId,
    MailboxInfo,
    MessageRow,
    NoSuchMailbox,
    RowId,
    Uid,
)
from leap.mail.imap.session.progress import INTERVAL, Progress
from leap.mail.imap.session.replies import (
    Bad,
    ConnectionBroken,
    Ended,
    Goodbye,
    No,
    refusal,
    with_code,
)
from leap.mail.imap.session.watching import Watching
from leap.mail.imap.tracker import SYSTEM_FLAGS, MailboxView, SeqNum
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.imap.wire.numbers import NumberSet, format_set
from leap.mail.imap.wire.responses import flag_list, text_line
from leap.mail.message import Message

logger = logging.getLogger(__name__)

Authenticator = Callable[[str, str], Awaitable[AccountBackend | None]]
LineTaker = Callable[[bytes], Awaitable[None]]


class Output(Protocol):
    """Where a session writes; `drain` waits while the client is slow to read."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None:
        """Ends the connection once all that was written is sent."""


class SessionState:
    """The state a session is in, and what all commands do with it."""

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
        self.turn = asyncio.Lock()  # of a command, or of notices between commands
        self._watching: asyncio.Task[None] | None = None

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

    # -- writing

    def untagged(self, line: bytes) -> None:
        self.output.write(b"* " + line + b"\r\n")

    async def complete(
        self,
        tag: bytes,
        work: Awaitable[bytes],
        *,
        expunges: bool = True,
        announces: bool = True,
        silent: bool = False,
    ) -> None:
        """Awaits a command's work, tells what changed meanwhile, and writes its tagged answer.

        `expunges` says whether EXPUNGE may be sent during this command (RFC 3501 7.4.1), `announces` whether
        anything is told: what has to wait is told by the next command. `silent` says that its work writes answers in
        pieces, between which no progress may be told.
        """
        if self.account is not None and not silent:
            self.progress = Progress(tag, self.untagged, self.progress_interval)
        try:
            line = await work
        except Ended as ended:
            line = ended.line()
        except AccountError as error:
            line = refusal(error).line()
        except ImapSyntaxError as error:  # found only while the command was carried out
            line = Bad(str(error)).line()
        except Goodbye as goodbye:
            self.say_goodbye(goodbye.text, tag + b" " + (goodbye.tagged or b"NO It is over"))
            return
        except ConnectionBroken:
            self.ended = True
            self.output.close()
            return
        except (ConnectionError, TimeoutError):  # the client does not read any more
            raise
        except Exception as error:
            logger.error("IMAP command failed: %s", _place(error))
            line = No("Something went wrong inside the server.", b"SERVERBUG").line()
        finally:
            if self.progress is not None:
                self.progress.stop()
                self.progress = None
        try:
            if announces:
                if self.stale:
                    await self.refresh()
                self.announce(expunges=expunges)
                await self.tell_others()
        except Goodbye as goodbye:
            self.say_goodbye(goodbye.text, tag + b" " + line)
            return
        except AccountError as error:
            logger.info("IMAP session cannot see its mailbox: %s", type(error).__name__)
        if self.tells_highest:
            self.tells_highest = False
            if self.view is not None and self.condstore:  # RFC 7162 3.2.7, 3.2.9; RFC 6851 4.4
                line = with_code(line, b"HIGHESTMODSEQ %d" % self.view.told)
        self.output.write(tag + b" " + line + b"\r\n")
        await self.output.drain()

    def say_goodbye(self, text: str, tagged: bytes | None = None) -> None:
        """Writes BYE, then the tagged answer of the last command (RFC 3501 6.1.3), and ends the session."""
        if not self.ended:
            self.ended = True
            self.untagged(b"BYE " + text_line(text))
            if tagged is not None:
                self.output.write(tagged + b"\r\n")
            self.output.close()

    # -- changes from elsewhere

    def log_in(self, account: AccountBackend) -> None:
        """The account is this session's until it ends."""
        self.account = account
        self._watching = asyncio.create_task(self._watch(account.changes()))

    async def _watch(self, changes: AsyncIterator[Change]) -> None:
        try:
            async for change in changes:
                view = self.view
                heard = self.watching.hears(change, view.mailbox_id if view else None)
                if view is not None and (
                    change.topic == "mailboxes"
                    or (
                        change.topic == "messages"
                        and change.mailbox_id == view.mailbox_id
                        and change.modseq > view.modseq
                    )
                ):
                    heard = self.stale = True
                if heard and (self.idling or self.watching.active):
                    await self.notify()
            self.say_goodbye("The account was closed.")
        except AccountError:
            self.say_goodbye("The account is not available any more.")
        except (ConnectionError, TimeoutError):
            self.ended = True
            self.output.close()
        except Exception as error:
            logger.error("IMAP notices failed: %s", _place(error))
            self.say_goodbye("Something went wrong inside the server.")
        finally:
            close = getattr(changes, "aclose", None)
            if close is not None:
                await close()

    async def notify(self) -> None:
        """Tells a client that listens at once what changed, when it is not being answered."""
        async with self.turn:
            if self.idling or self.watching.active:
                await self.tell_now()

    async def tell_now(self) -> None:
        if self.ended:
            return
        try:
            await self.refresh()
            self.announce(expunges=self.idling or self.watching.at_once)
            await self.tell_others()
        except Goodbye as goodbye:
            self.say_goodbye(goodbye.text)
        await self.output.drain()

    async def tell_others(self) -> None:
        """Tells what is due beyond the selected mailbox; `Session` does."""

    async def close(self) -> None:
        """Lets go of the account; the connection has ended or will."""
        self.ended = True
        self.unselect()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    # -- mailboxes

    async def find_mailbox(self, name: str, *, trycreate: bool = False) -> MailboxInfo:
        """The mailbox of that name. Raises No with NONEXISTENT, or with TRYCREATE."""
        by_name = {one.name: one for one in await self.signed_in().list_mailboxes()}
        for written in (name, self.as_named(name)):  # RFC 9051 5.1
            if written in by_name:
                return by_name[written]
        raise No("There is no such mailbox.", b"TRYCREATE" if trycreate else b"NONEXISTENT")

    def as_named(self, name: str) -> str:
        """A name as a new mailbox is called by it: Net-Unicode where IMAP4rev2 is spoken (RFC 9051 5.1)."""
        return unicodedata.normalize("NFC", name) if self.rev2 else name

    def resolve(self, numbers: NumberSet, by_uid: bool) -> list[SeqNum]:
        """The messages of a set. Raises Bad for sequence numbers there are not."""
        view = self.selected()
        if numbers.saved:
            return view.find_all(self.saved)
        try:
            return view.resolve(numbers, by_uid)
        except IndexError:
            raise Bad("There is no message with that number.") from None

    # -- announcements

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


def _place(error: BaseException) -> str:
    """What failed and where, without any value: texts of errors may hold what a person wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"
