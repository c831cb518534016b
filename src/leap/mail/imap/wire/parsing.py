"""From one framed line to a command: its tag, its name, and the code that reads its arguments.

command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF   (RFC 3501 9)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from leap.mail.imap.wire.commands import (
    Append,
    AppendedMessage,
    Authenticate,
    Command,
    Create,
    Delete,
    Enable,
    Fetch,
    Id,
    List,
    Login,
    Lsub,
    Rename,
    Replace,
    Search,
    Select,
    Simple,
    Status,
    Store,
    Subscribe,
    Transfer,
    UidExpunge,
)
from leap.mail.imap.wire.dates import parse_date_time
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.fetching import parse_items
from leap.mail.imap.wire.framing import RawCommand
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.imap.wire.listing import parse_list, parse_status_items
from leap.mail.imap.wire.metadata import parse_get_metadata, parse_set_metadata
from leap.mail.imap.wire.notify import parse_notify
from leap.mail.imap.wire.quota import parse_getquota, parse_getquotaroot
from leap.mail.imap.wire.resync import (
    parse_fetch_modifiers,
    parse_select_parameters,
    parse_unchanged_since,
)
from leap.mail.imap.wire.scanner import Scanner, distinct
from leap.mail.imap.wire.searching import parse_search
from leap.mail.imap.wire.sorting import Sort, Thread, parse_sort, parse_thread


def split_tag(text: bytes) -> bytes | None:
    """The tag a line begins with, None when it has none: then the answer is untagged."""
    try:
        scanner = Scanner(text[:256])
        tag = scanner.tag()
    except ImapSyntaxError:
        return None
    return tag if scanner.at_end() or scanner.at(b" ") else None


def parse_command(
    raw: RawCommand,
    limits: Limits = DEFAULT_LIMITS,
    *,
    utf8: bool = False,
    charsets: bool = True,
) -> tuple[bytes, Command]:
    """The tag and the command; `utf8` and `charsets` as `Scanner` takes them. Raises ImapSyntaxError."""
    scanner = Scanner(raw.text, raw.literals, limits, utf8=utf8, charsets=charsets)
    tag = scanner.tag()
    scanner.space()
    name = scanner.keyword()
    by_uid = name == "UID"
    if by_uid:
        scanner.space()
        name = "UID " + scanner.keyword()
    if name in _SIMPLE:
        scanner.end()
        return tag, _SIMPLE[name]
    parse = _PARSERS.get(name)
    if parse is None:
        raise ImapSyntaxError("There is no such command.")
    command = parse(scanner)
    scanner.end()
    return tag, command


_SIMPLE: dict[str, Simple] = {
    name: Simple(name)
    for name in (
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "STARTTLS",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "IDLE",
        "NAMESPACE",
    )
}


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ImapSyntaxError("The text is not UTF-8.") from None


def _login(scanner: Scanner) -> Login:
    scanner.space()
    user = _text(scanner.astring())
    scanner.space()
    return Login(user, _text(scanner.astring()))


def _authenticate(scanner: Scanner) -> Authenticate:
    scanner.space()
    mechanism = scanner.keyword()
    if scanner.at_end():
        return Authenticate(mechanism, None)
    scanner.space()  # RFC 4959: an initial response, "=" when it is empty
    initial = scanner.text[scanner.position :]
    scanner.position = len(scanner.text)
    return Authenticate(mechanism, b"" if initial == b"=" else initial)


def _id(scanner: Scanner) -> Id:
    scanner.space()
    if scanner.skip(b"("):
        count = 0
        while not scanner.skip(b")"):
            if count:
                scanner.space()
            scanner.nstring()
            count += 1
            if count > 60:  # RFC 2971 3.3: at most 30 pairs
                raise ImapSyntaxError("Too many fields.")
    elif scanner.nstring() is not None:
        raise ImapSyntaxError("Here should be a list or NIL.")
    return Id()


def _enable(scanner: Scanner) -> Enable:
    names = []
    while not scanner.at_end():
        scanner.space()
        names.append(scanner.keyword())
    if not names:
        raise ImapSyntaxError("Arguments are missing.")
    return Enable(tuple(names))


def _mailbox(scanner: Scanner) -> str:
    scanner.space()
    return scanner.mailbox()


def _select(read_only: bool) -> Callable[[Scanner], Select]:
    def parse(scanner: Scanner) -> Select:
        mailbox = _mailbox(scanner)
        condstore, resync = parse_select_parameters(scanner)
        return Select(mailbox, read_only, condstore, resync)

    return parse


def _create(scanner: Scanner) -> Create:
    mailbox = _mailbox(scanner)
    uses: list[str] = []
    if not scanner.at_end():  # RFC 6154 3: CREATE mailbox (USE (\Drafts))
        scanner.space()
        scanner.expect(b"(")
        if scanner.keyword() != "USE":
            raise ImapSyntaxError("There is no such parameter of CREATE.")
        scanner.space()
        scanner.expect(b"(")
        while not scanner.skip(b")"):
            if uses:
                scanner.space()
            scanner.expect(b"\\")
            uses.append("\\" + scanner.atom().decode("ascii"))
        scanner.expect(b")")
    return Create(mailbox, tuple(uses))


def _rename(scanner: Scanner) -> Rename:
    old = _mailbox(scanner)
    return Rename(old, _mailbox(scanner))


def _list(scanner: Scanner) -> List:
    scanner.space()
    return List(parse_list(scanner))


def _lsub(scanner: Scanner) -> Lsub:
    reference = _mailbox_or_empty(scanner)
    scanner.space()
    return Lsub(reference, scanner.list_mailbox())


def _mailbox_or_empty(scanner: Scanner) -> str:
    scanner.space()
    return scanner.list_mailbox()


def _status(scanner: Scanner) -> Status:
    mailbox = _mailbox(scanner)
    scanner.space()
    return Status(mailbox, parse_status_items(scanner))


def _append(scanner: Scanner) -> Append:
    mailbox = _mailbox(scanner)
    messages: list[AppendedMessage] = []
    while not scanner.at_end():
        scanner.space()
        if messages and scanner.at_end():
            break
        messages.append(_message(scanner))
    if not messages:
        raise ImapSyntaxError("Arguments are missing.")
    return Append(mailbox, tuple(messages))


def _message(scanner: Scanner) -> AppendedMessage:
    """append-message = [SP flag-list] [SP date-time] SP append-data   (RFC 4466 3)

    append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"   (RFC 6855 4)
    """
    flags: tuple[str, ...] = ()
    moment = None
    if scanner.at(b"("):
        flags = tuple(flag for flag in scanner.flags() if flag != "\\Recent")
        scanner.space()
    if scanner.at(b'"'):
        moment = parse_date_time(scanner.string())
        scanner.space()
    if not scanner.utf8 or scanner.at_string():
        raw = scanner.literal()
        if scanner.utf8 and raw.startswith(b"UTF8 (") and raw.endswith(b")"):
            raw = raw[
                6:-1
            ]  # Python's imaplib writes the word into the literal; no header begins so
        return AppendedMessage(raw, flags, moment)
    if scanner.keyword() != "UTF8":
        raise ImapSyntaxError("Here should be a literal.")
    scanner.space()
    scanner.expect(b"(")
    raw = scanner.literal()
    scanner.expect(b")")
    return AppendedMessage(raw, flags, moment)


def _replace(by_uid: bool) -> Callable[[Scanner], Replace]:
    def parse(scanner: Scanner) -> Replace:
        scanner.space()
        numbers = scanner.one_number()
        mailbox = _mailbox(scanner)
        scanner.space()
        return Replace(numbers, by_uid, mailbox, _message(scanner))

    return parse


def _uid_expunge(scanner: Scanner) -> UidExpunge:
    scanner.space()
    return UidExpunge(scanner.number_set())


def _fetch(by_uid: bool) -> Callable[[Scanner], Fetch]:
    def parse(scanner: Scanner) -> Fetch:
        scanner.space()
        numbers = scanner.number_set()
        scanner.space()
        items = parse_items(scanner)
        changed_since, vanished, partial = parse_fetch_modifiers(scanner)
        if (vanished or partial) and not by_uid:  # RFC 7162 3.2.6, RFC 9394 3.3
            raise ImapSyntaxError("VANISHED and PARTIAL belong to UID FETCH.")
        return Fetch(numbers, by_uid, items, changed_since, vanished, partial)

    return parse


def _store(by_uid: bool) -> Callable[[Scanner], Store]:
    def parse(scanner: Scanner) -> Store:
        scanner.space()
        numbers = scanner.number_set()
        scanner.space()
        unchanged_since = parse_unchanged_since(scanner)
        op: Literal["set", "add", "remove"] = "set"
        if scanner.skip(b"+"):
            op = "add"
        elif scanner.skip(b"-"):
            op = "remove"
        word = scanner.keyword()
        if word not in ("FLAGS", "FLAGS.SILENT"):
            raise ImapSyntaxError("STORE changes FLAGS and nothing else.")
        scanner.space()
        if scanner.at(b"("):
            flags = scanner.flags()
        else:
            bare = [scanner.flag()]
            while not scanner.at_end():
                scanner.space()
                if scanner.at_end():
                    break
                bare.append(scanner.flag())
            flags = distinct(bare)
        silent = word.endswith(".SILENT")
        if "\\Recent" in flags:  # RFC 3501 2.3.2
            raise ImapSyntaxError("\\Recent cannot be stored.")
        return Store(numbers, by_uid, op, silent, flags, unchanged_since)

    return parse


def _search(by_uid: bool) -> Callable[[Scanner], Search]:
    def parse(scanner: Scanner) -> Search:
        scanner.space()
        return Search(parse_search(scanner), by_uid)

    return parse


def _sort(by_uid: bool) -> Callable[[Scanner], Sort]:
    def parse(scanner: Scanner) -> Sort:
        scanner.space()
        return parse_sort(scanner, by_uid)

    return parse


def _thread(by_uid: bool) -> Callable[[Scanner], Thread]:
    def parse(scanner: Scanner) -> Thread:
        scanner.space()
        return parse_thread(scanner, by_uid)

    return parse


def _transfer(by_uid: bool, move: bool) -> Callable[[Scanner], Transfer]:
    def parse(scanner: Scanner) -> Transfer:
        scanner.space()
        numbers = scanner.number_set()
        return Transfer(numbers, by_uid, _mailbox(scanner), move)

    return parse


_PARSERS: dict[str, Callable[[Scanner], Command]] = {
    "LOGIN": _login,
    "AUTHENTICATE": _authenticate,
    "ID": _id,
    "ENABLE": _enable,
    "SELECT": _select(False),
    "EXAMINE": _select(True),
    "CREATE": _create,
    "DELETE": lambda scanner: Delete(_mailbox(scanner)),
    "RENAME": _rename,
    "SUBSCRIBE": lambda scanner: Subscribe(_mailbox(scanner), True),
    "UNSUBSCRIBE": lambda scanner: Subscribe(_mailbox(scanner), False),
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "GETQUOTA": parse_getquota,
    "GETQUOTAROOT": parse_getquotaroot,
    "APPEND": _append,
    "REPLACE": _replace(False),
    "UID REPLACE": _replace(True),
    "UID EXPUNGE": _uid_expunge,
    "FETCH": _fetch(False),
    "UID FETCH": _fetch(True),
    "STORE": _store(False),
    "UID STORE": _store(True),
    "SEARCH": _search(False),
    "UID SEARCH": _search(True),
    "SORT": _sort(False),
    "UID SORT": _sort(True),
    "THREAD": _thread(False),
    "UID THREAD": _thread(True),
    "COPY": _transfer(False, False),
    "UID COPY": _transfer(True, False),
    "NOTIFY": parse_notify,
    "GETMETADATA": parse_get_metadata,
    "SETMETADATA": parse_set_metadata,
    "MOVE": _transfer(False, True),
    "UID MOVE": _transfer(True, True),
}
