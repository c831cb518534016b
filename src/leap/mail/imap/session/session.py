"""One IMAP session: takes commands as they were framed, and answers them over an account (RFC 3501).

Invariants: every command gets exactly one tagged answer, in the order of the commands; nothing a client sends raises
out of `handle` or `handle_line`; a command is never answered in a state in which it is not allowed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from leap.mail.imap.session import (
    append,
    auth,
    fetch,
    idle,
    listing,
    mailboxes,
    metadata,
    notices,
    quota,
    replacing,
    search,
    sorting,
    store,
)
from leap.mail.imap.session import transfer as transfers
from leap.mail.imap.session.replies import Bad, Ended, Goodbye, No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.session.uid_only import check_uids_only
from leap.mail.imap.wire import commands as wire
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.framing import Continuation, Event, RawCommand, Refused, is_append
from leap.mail.imap.wire.metadata import GetMetadata, SetMetadata
from leap.mail.imap.wire.notify import Notify
from leap.mail.imap.wire.parsing import parse_command, split_tag
from leap.mail.imap.wire.responses import text_line

MOST_BAD_COMMANDS = 20  # one after the other; a program that talks something else ends here
MOST_BAD_BEFORE_LOGIN = 5
CONTINUE = b"+ OK\r\n"  # invites a literal

Handler = Callable[[SessionState, wire.Simple], Awaitable[bytes]]


async def _logout(session: SessionState, command: wire.Simple) -> bytes:
    raise Goodbye("Until next time.", tagged=ok("Logged out."))


_SIMPLE: dict[str, Handler] = {
    "CAPABILITY": auth.capability,
    "NOOP": idle.noop,
    "LOGOUT": _logout,
    "STARTTLS": auth.start_tls,
    "CHECK": idle.check,
    "CLOSE": mailboxes.close_mailbox,
    "UNSELECT": mailboxes.unselect,
    "EXPUNGE": store.expunge,
    "NAMESPACE": mailboxes.namespace,
}


class Session(SessionState):
    """Give it framed events in order, one at a time."""

    _bad_commands = 0

    def greet(self) -> None:
        """The first line (RFC 3501 7.1.1)."""
        self.untagged(b"OK [CAPABILITY " + auth.capabilities(self) + b"] leap.mail is ready")

    async def handle(self, event: Event) -> None:
        """Answers one event; returns when the answer is written or a line of the client is awaited."""
        async with self.turn:
            if not self.ended:
                await self._handle(event)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, Continuation):
            self.output.write(CONTINUE)
            await self.output.drain()
        elif isinstance(event, Refused):
            await self._refuse(event)
        else:
            await self._command(event)

    async def handle_all(self, events: Sequence[Event]) -> None:
        """Answers events in their order; APPENDs to one mailbox which follow each other share a transaction."""
        run: list[tuple[bytes, wire.Append]] = []
        for event in events:
            one = self._append_of(event)
            if run and (one is None or one[1].mailbox != run[0][1].mailbox):
                await self._append_all(run)
                run = []
            if one is None:
                await self.handle(event)
            else:
                run.append(one)
        await self._append_all(run)

    def _append_of(self, event: Event) -> tuple[bytes, wire.Append] | None:
        """The tag and command of an APPEND that can be carried out."""
        if self.account is None or not is_append(event):
            return None
        try:
            tag, command = self._parsed(event)
        except ImapSyntaxError:
            return None
        return (tag, command) if isinstance(command, wire.Append) else None

    def _parsed(self, raw: RawCommand) -> tuple[bytes, wire.Command]:
        charsets = "UTF8=ACCEPT" not in self.enabled
        return parse_command(raw, self.limits, utf8=self.utf8, charsets=charsets)

    async def _append_all(self, run: Sequence[tuple[bytes, wire.Append]]) -> None:
        async with self.turn:
            if not self.ended and run:
                self._bad_commands = 0
                await self._append_each(run)

    async def _append_each(self, run: Sequence[tuple[bytes, wire.Append]]) -> None:
        if len(run) == 1:
            await self._dispatch(*run[0])
            return
        done: Sequence[bytes | Ended] = ()
        try:
            done = await append.append_together(self, [command for _, command in run])
        except Exception as error:
            await self.complete(run[0][0], _raised(error))
            run, done = run[1:], [No("Something went wrong inside the server.")] * (len(run) - 1)
        for (tag, _), one in zip(run, done, strict=True):
            await self.complete(tag, _raised(one) if isinstance(one, Ended) else _given(one))

    async def handle_line(self, line: bytes | Refused) -> None:
        """Gives the client's line to the command which awaits it."""
        async with self.turn:
            taker = self.expected_line
            if taker is not None and not self.ended:
                await taker(b"" if isinstance(line, Refused) else line)

    async def tell_others(self) -> None:
        if self.watching.pending:
            await notices.tell(self)

    async def _refuse(self, refused: Refused) -> None:
        tag = split_tag(refused.text) or b"*"
        if refused.reason == "message":  # RFC 7889 3
            limit = self.limits.message // (1024 * 1024)
            line = b"NO [TOOBIG] A message has at most %d MiB" % limit
        elif refused.reason == "literal":
            line = b"NO [LIMIT] The literal is too long"
        else:
            line = b"BAD [LIMIT] The line is too long"
        self.output.write(tag + b" " + line + b"\r\n")
        await self.output.drain()
        self._count_bad()

    async def _command(self, raw: RawCommand) -> None:
        if not raw.text.strip():
            self._count_bad()
            return
        try:
            tag, command = self._parsed(raw)
        except ImapSyntaxError as error:
            tag = split_tag(raw.text) or b"*"
            self.output.write(tag + b" BAD " + text_line(str(error)) + b"\r\n")
            await self.output.drain()
            self._count_bad()
            return
        self._bad_commands = 0
        await self._dispatch(tag, command)

    def _count_bad(self) -> None:
        self._bad_commands += 1
        most = MOST_BAD_COMMANDS if self.account is not None else MOST_BAD_BEFORE_LOGIN
        if self._bad_commands >= most:
            self.say_goodbye("Too many bad commands.")

    async def _dispatch(self, tag: bytes, command: wire.Command) -> None:
        if self.uid_only:
            try:
                check_uids_only(command)
            except Bad as refused:
                await self.complete(tag, _refused(refused))
                return
        match command:
            case wire.Simple("IDLE"):
                if self.account is None:
                    await self.complete(tag, _logged_out(self))
                else:
                    await idle.idle(self, tag)
            case wire.Simple(name):
                await self.complete(tag, _SIMPLE[name](self, command))
            case wire.Authenticate():
                await auth.authenticate(self, tag, command)
            case wire.Select():  # its EXISTS is the last word until the mailbox is selected
                await self.complete(tag, mailboxes.select(self, command), announces=False)
            case wire.Fetch():
                work = fetch.fetch(self, command)
                await self.complete(tag, work, expunges=command.by_uid, silent=True)
            case wire.Store():
                await self.complete(tag, store.store(self, command), expunges=command.by_uid)
            case wire.Search():
                work = search.search(self, tag, command)
                await self.complete(tag, work, expunges=command.by_uid)
            case wire.Sort():  # numbers stay as they are, as for SEARCH (RFC 5256 3)
                work = sorting.sort(self, tag, command)
                await self.complete(tag, work, expunges=command.by_uid)
            case wire.Thread():
                work = sorting.thread(self, command)
                await self.complete(tag, work, expunges=command.by_uid)
            case _:
                await self.complete(tag, self._work(command))

    def _work(self, command: wire.Command) -> Awaitable[bytes]:
        match command:
            case wire.Login():
                return auth.login(self, command)
            case wire.Id():
                return auth.identify(self, command)
            case wire.Enable():
                return auth.enable(self, command)
            case wire.Create():
                return mailboxes.create(self, command)
            case wire.Delete():
                return mailboxes.delete(self, command)
            case wire.Rename():
                return mailboxes.rename(self, command)
            case wire.Subscribe():
                return mailboxes.subscribe(self, command)
            case wire.List():
                return listing.list_mailboxes(self, command)
            case wire.Lsub():
                return listing.list_subscribed(self, command)
            case wire.Status():
                return mailboxes.status(self, command)
            case wire.Append():
                return append.append(self, command)
            case wire.Replace():
                return replacing.replace(self, command)
            case wire.GetQuota():
                return quota.get_quota(self, command)
            case wire.GetQuotaRoot():
                return quota.get_quota_root(self, command)
            case wire.UidExpunge():
                return store.uid_expunge(self, command)
            case Notify():
                return notices.notify(self, command)
            case GetMetadata():
                return metadata.get_metadata(self, command)
            case SetMetadata():
                return metadata.set_metadata(self, command)
            case wire.Transfer():
                return transfers.transfer(self, command)
            case _:
                raise AssertionError(f"no handler for {type(command).__name__}")


async def _refused(refusal: Bad) -> bytes:
    raise refusal


async def _given(line: bytes) -> bytes:
    return line


async def _raised(error: Exception) -> bytes:
    raise error


async def _logged_out(session: SessionState) -> bytes:
    session.signed_in()
    return ok("Never reached.")
