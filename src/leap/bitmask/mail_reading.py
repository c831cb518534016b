"""`bitmask mail search` and `bitmask mail show`: reads an account at the daemon that holds it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from leap.bitmask.control import ControlError, NotRunning, daemon_record
from leap.bitmask.home import Home
from leap.mail.account import Account, Message
from leap.mail.contract import AccountError, ContentUnavailable, QueryError
from leap.mail.message import Message as MessageView
from leap.mail.message import Part

SHOWN_FIELDS = ("From", "To", "Cc", "Date", "Subject")


@contextlib.asynccontextmanager
async def opened(home: Home, address: str) -> AsyncIterator[Account]:
    """The account at the running daemon; what it refuses is a ControlError."""
    try:
        account = await Account.open(address, home=home.path)
    except AccountError as error:
        if daemon_record(home) is None:
            raise NotRunning from error
        raise ControlError("locked", str(error)) from error
    try:
        yield account
    except QueryError as error:
        raise ControlError("query", str(error)) from error
    except AccountError as error:
        raise ControlError("account", str(error)) from error
    finally:
        await account.close()


async def search_mail(home: Home, address: str, query: str, limit: int) -> dict[str, Any]:
    """Messages that fit, newest first, each with what a list shows of it."""
    async with opened(home, address) as account:
        result = await account.search(query, limit)
        names = {info.mailbox_id: info.name for info in await account.mailboxes()}
        messages = []
        for one, message in zip(result.found, await account.open_found(result.found), strict=True):
            header = await _header(message)
            messages.append(
                {
                    "id": one.row.row_id,
                    "mailbox": names.get(one.mailbox_id, one.mailbox_id),
                    "uid": one.row.uid,
                    "date": message.date.isoformat(),
                    "from": header.get("From", ""),
                    "subject": await message.subject(),
                    "preview": await message.preview(),
                    "flags": list(one.row.flags),
                    "size": one.row.size,
                }
            )
        return {"messages": messages, "more": result.more, "unsearched": result.unsearched}


async def _header(message: Message) -> dict[str, str]:
    """The fields a list shows, decoded; empty when the content is still at the provider."""
    try:
        return _fields(MessageView(await message.raw(0, (await message.metadata()).header_size)))
    except ContentUnavailable:
        return {}


def numbered(part: Part, number: str = "") -> Iterator[tuple[str, Part]]:
    """The leaves of a message under the numbers IMAP gives them (RFC 9051 6.4.5.1)."""
    if part.is_multipart:
        for at, child in enumerate(part.children, 1):
            yield from numbered(child, f"{number}.{at}" if number else str(at))
    elif part.is_message and part.children:
        inner = part.children[0]
        yield from numbered(inner, number or "1" if inner.is_multipart else f"{number or '1'}.1")
    else:
        yield number or "1", part


def _fields(view: MessageView) -> dict[str, str]:
    return {name: field.text for name in SHOWN_FIELDS if (field := view.field(name)) is not None}


async def show_mail(home: Home, address: str, beginning: str) -> dict[str, Any]:
    """One message, by the beginning of its id: what a person reads of it."""
    async with opened(home, address) as account:
        message = await _find(account, beginning)
        view = await message.open()
        names = {id(part): name for name, part in view.attachments()}
        parts = [
            {
                "part": number,
                "type": part.content_type,
                "name": names.get(id(part)),
                "size": len(view.content(part)),
            }
            for number, part in numbered(view.root)
        ]
        return {
            "id": message.row_id,
            "fields": _fields(view),
            "flags": list(message.flags),
            "security": msgspec.to_builtins(await message.security()),
            "sent_to": [one._asdict() for one in await message.sent_to()],
            "text": view.body_text,
            "parts": parts,
        }


async def read_mail(
    home: Home,
    address: str,
    beginning: str,
    *,
    headers: bool = False,
    part: str | None = None,
    original: bool = False,
) -> bytes:
    """The exact octets of a message, of its header, or the content of one part (numbered as IMAP does).

    `original`: the message as it came, still encrypted if it was.
    """
    async with opened(home, address) as account:
        message = await _find(account, beginning)
        if original:
            return await message.original() or await message.raw()
        if headers:
            return await message.raw(0, (await message.metadata()).header_size)
        if part is None:
            return await message.raw()
        view = await message.open()
        found = view.part(part)
        if found is None:
            raise ControlError("no-part", f"The message has no part {part}.")
        return view.content(found)


async def _find(account: Account, beginning: str) -> Message:
    result = await account.search(f'id:"{beginning}"', 2)
    if not result.found:
        raise ControlError("no-message", f"There is no message {beginning}.")
    exact = [one for one in result.found if one.row.row_id == beginning]
    same = len({one.row.message_id for one in result.found}) == 1 and not result.more
    if not exact and not same:
        raise ControlError(
            "no-message", f"Several messages begin with {beginning}; give more of it."
        )
    return (await account.open_found((exact or list(result.found))[:1]))[0]
