"""SASL PLAIN (RFC 4616) and LOGIN as a server sees them: octets in, a challenge or credentials out.

Sans-IO. Nothing here keeps or shows a password: `Credentials` hides it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

MAX_CREDENTIAL = 1_024  # characters of a user name or a password


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client wants to log in with."""

    user: str
    password: str = field(repr=False)


class BadExchange(ValueError):
    """The client's answer is not what the mechanism says; the text is a sentence."""


class Mechanism(Protocol):
    """One exchange: `step` takes a decoded answer and gives the next challenge, or credentials."""

    def first(self) -> bytes:
        """The challenge to a client that gave no initial response."""
        ...

    def step(self, answer: bytes) -> bytes | Credentials: ...


class Plain:
    """message = [authzid] NUL authcid NUL passwd (RFC 4616 2)."""

    def first(self) -> bytes:
        return b""

    def step(self, answer: bytes) -> Credentials:
        fields = _text(answer).split("\0")
        if len(fields) != 3:
            raise BadExchange("PLAIN has three fields.")
        acting_for, user, password = fields
        if acting_for not in ("", user):
            raise BadExchange("Nobody can act for another user here.")
        return _credentials(user, password)


class Login:
    """User name and password asked for one by one, as old mail programs want it."""

    def __init__(self) -> None:
        self._user: str | None = None

    def first(self) -> bytes:
        return b"Username:"

    def step(self, answer: bytes) -> bytes | Credentials:
        if self._user is None:
            self._user = _text(answer)
            return b"Password:"
        return _credentials(self._user, _text(answer))


MECHANISMS: dict[str, type[Plain] | type[Login]] = {"PLAIN": Plain, "LOGIN": Login}


def decode_answer(line: bytes) -> bytes:
    """An answer as it stands on the line; "=" is an empty one (RFC 4954 4). Raises BadExchange."""
    if line == b"=":
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise BadExchange("This is not base64.") from error


def encode_challenge(challenge: bytes) -> str:
    """A challenge as it stands behind 334."""
    return base64.b64encode(challenge).decode()


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadExchange("User names and passwords are UTF-8.") from error


def _credentials(user: str, password: str) -> Credentials:
    if not user or "\0" in user or "\0" in password:
        raise BadExchange("A user name is missing or holds NUL.")
    if len(user) > MAX_CREDENTIAL or len(password) > MAX_CREDENTIAL:
        raise BadExchange("The user name or the password is too long.")
    return Credentials(user, password)
