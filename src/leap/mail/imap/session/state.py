"""What every family of commands needs of a session: how a command ends, notices between commands, mailboxes by name."""

from __future__ import annotations

import asyncio
import logging
import traceback
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable

from leap.mail.contract import AccountBackend, AccountError, Change, MailboxInfo
from leap.mail.imap.session.announcing import Announcing, Authenticator, Output
from leap.mail.imap.session.progress import Progress
from leap.mail.imap.session.replies import (
    Bad,
    ConnectionBroken,
    Ended,
    Goodbye,
    No,
    refusal,
    with_code,
)
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.imap.wire.responses import text_line

logger = logging.getLogger(__name__)


class SessionState(Announcing):
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
        super().__init__(
            output, authenticate, limits=limits, sleep=sleep, clear_text_login=clear_text_login
        )
        self.turn = asyncio.Lock()  # of a command, or of notices between commands
        self._watching: asyncio.Task[None] | None = None

    # -- commands

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


def _place(error: BaseException) -> str:
    """What failed and where, without any value: texts of errors may hold what a person wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"
