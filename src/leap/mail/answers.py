"""Values that an account answers about messages: how many fit a query, and where the parts of a message lie."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class QueryCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages fit a query, a copy in another mailbox counting as one more.

    `unsearched` counts those which might fit besides, but whose content is still at the provider.
    """

    messages: int
    unseen: int
    unsearched: int = 0


class PartTree(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a message and the parts in it, as ranges of the message's octets.

    The header with its empty line is [`header_start`, `body_start`), the body, still encoded, [`body_start`, `end`).
    `content_type` and `encoding` are in lower case. `children` are the parts of a multipart, or the one message in a
    message/rfc822.
    """

    header_start: int
    body_start: int
    end: int
    content_type: str
    encoding: str
    children: tuple[PartTree, ...] = ()

    @property
    def is_multipart(self) -> bool:
        """Whether `children` are the parts of a multipart."""
        return self.content_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """Whether the body is a whole message, the only one of `children`."""
        return self.content_type in ("message/rfc822", "message/global")

    @property
    def size(self) -> int:
        """Octets of the body, still encoded."""
        return self.end - self.body_start

    def walk(self) -> Iterator[PartTree]:
        """This part and all below it, in the order of the message."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))

    def numbered(self) -> Iterator[tuple[str, PartTree]]:
        """The parts that have a number in IMAP, in order, each with it (RFC 9051 6.4.5.1).

        A message that is no multipart has one part, "1". The outermost multipart, and that of a message inside, have
        none.
        """
        stack: list[tuple[str, PartTree, bool]] = [("", self, False)]
        while stack:
            number, part, own = stack.pop()
            if part.is_multipart and part.children:
                if own:
                    yield number, part
                prefix = f"{number}." if number else ""
                children = enumerate(part.children, 1)
                stack += [(f"{prefix}{at}", child, True) for at, child in children][::-1]
                continue
            number = number or "1"
            yield number, part
            if part.is_message and part.children:
                inner = part.children[0]
                stack.append(
                    (number, inner, False) if inner.is_multipart else (f"{number}.1", inner, True)
                )


class AccountSpace(msgspec.Struct, frozen=True, kw_only=True):
    """Octets of all messages as they are served, their number, and the octets free where the account is kept (None:
    there is no bound)."""

    used: int
    messages: int
    free: int | None
