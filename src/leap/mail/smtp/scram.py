"""SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides: a log-in in which the password is never sent.

Sans-IO; randomness comes in as an argument. Here a password has 256 random bits and an account several of them, one
for each device, so all its verifiers share one salt, and the proof is tried with each. No channel binding
is offered: Python's TLS has no exporter for the one that TLS 1.3 wants (RFC 9266), and a client that may
choose among bindings would choose one that fails.

    client-first = gs2-header "n=" saslname ",r=" nonce          gs2-header = ("n" / "y") "," [ "a=" saslname ] ","
    server-first = "r=" nonce ",s=" base64 ",i=" posit-number
    client-final = "c=" base64(gs2-header) ",r=" nonce ",p=" base64
    server-final = "v=" base64

Invariants:
* A user who does not exist is asked the same as one who does: whoever gives the salt makes one up.
* A proof is right for exactly one exchange: both nonces are signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from leap.mail.smtp.auth import BadExchange

NAME = "SCRAM-SHA-256"
ITERATIONS = 4_096  # RFC 7677 4's least: more would add nothing to 256 random bits
MAX_ITERATIONS = 200_000  # a server that asks for more wants to keep us busy
MAX_FIELD = 1_024
NONCE = 18  # octets, 24 characters
_FIRST = re.compile(r"(n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]*))?,(n=([^,]*),r=([!-+\--~]+)(?:,.*)?)")
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,[^,]*)*?),p=([A-Za-z0-9+/=]+)")
_SERVER_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?")


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What a server keeps of one password (RFC 5802 3). Who has it can pose as the server, not as the client."""

    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScramAccount:
    """Who a user name belongs to and its passwords' verifiers; without any, no proof is right."""

    principal: str
    salt: bytes
    verifiers: tuple[ScramVerifier, ...]
    iterations: int = ITERATIONS


@dataclass(frozen=True, slots=True)
class WantsAccount:
    """The exchange goes on with `ScramServer.use`."""

    user: str


@dataclass(frozen=True, slots=True)
class Proved:
    """The client knows a password of this principal, and was shown that we know its verifier."""

    principal: str


class NotProved:
    """The client knows none."""


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> ScramVerifier:
    """Takes a millisecond or two."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramVerifier(
        hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    )


class ScramServer:
    """The server's side of one exchange (a `leap.mail.smtp.auth.Mechanism` with more answers)."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._header = b""
        self._bare = ""
        self._nonce = ""
        self._server_first = ""
        self._account: ScramAccount | None = None
        self._proved = False

    def first(self) -> bytes:
        return b""

    def step(self, answer: bytes) -> bytes | WantsAccount | Proved | NotProved:
        """Raises BadExchange."""
        if self._proved:  # RFC 4954 4: the last challenge is answered with nothing
            if answer:
                raise BadExchange("The last answer of SCRAM is empty.")
            assert self._account is not None
            return Proved(self._account.principal)
        if self._account is None:
            return self._read_first(_ascii_or_utf8(answer))
        return self._read_final(_ascii_or_utf8(answer), self._account)

    def use(self, account: ScramAccount) -> bytes:
        """The challenge to the user who was asked about."""
        self._account = account
        self._nonce += base64.b64encode(self._random(NONCE)).decode()
        salt = base64.b64encode(account.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={account.iterations}"
        return self._server_first.encode()

    def _read_first(self, text: str) -> WantsAccount:
        match = _FIRST.fullmatch(text)
        if match is None or len(text) > 2 * MAX_FIELD:
            raise BadExchange("This is not SCRAM's first message.")
        flag, acting_for, self._bare, name, self._nonce = match.groups()
        if flag.startswith("p"):
            raise BadExchange("There is no channel binding here.")
        user = _decode_name(name)
        if acting_for is not None and _decode_name(acting_for) != user:
            raise BadExchange("Nobody can act for another user here.")
        self._header = text[: len(text) - len(self._bare)].encode()
        return WantsAccount(user)

    def _read_final(self, text: str, account: ScramAccount) -> bytes | NotProved:
        match = _FINAL.fullmatch(text)
        if match is None:
            raise BadExchange("This is not SCRAM's last message.")
        if _octets(match[2]) != self._header or match[3] != self._nonce:
            raise BadExchange("SCRAM's last message does not fit the first.")
        signed = f"{self._bare},{self._server_first},{match[1]}".encode()
        proof = _octets(match[4])
        right = None
        for verifier in account.verifiers:  # all of them, whichever is right
            if _is_proof(proof, verifier.stored_key, signed):
                right = verifier
        if right is None:
            return NotProved()
        self._proved = True
        return b"v=" + base64.b64encode(hmac.digest(right.server_key, signed, "sha256"))


class ScramClient:
    """The client's side: `first`, then `final` with the server's answer, then `check` with its last word."""

    def __init__(self, user: str, password: str, random: Callable[[int], bytes]) -> None:
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._password = password
        self._nonce = base64.b64encode(random(NONCE)).decode()
        self._bare = f"n={name},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """Raises BadExchange. Takes a millisecond or two, more when the server asks for more."""
        text = _ascii_or_utf8(server_first)
        match = _SERVER_FIRST.fullmatch(text)
        if match is None or not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise BadExchange("The server's first message is not an answer to ours.")
        iterations = int(match[3])
        if not ITERATIONS <= iterations <= MAX_ITERATIONS:  # RFC 7677 4: too few show the password
            raise BadExchange("The server asks for a number of iterations that is not sensible.")
        salted = hashlib.pbkdf2_hmac(
            "sha256", self._password.encode(), _octets(match[2]), iterations
        )
        unproved = f"c=biws,r={match[1]}"
        signed = f"{self._bare},{text},{unproved}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self._signature = hmac.digest(server_key, signed, "sha256")
        proof = base64.b64encode(_xor(client_key, signature)).decode()
        return f"{unproved},p={proof}".encode()

    def check(self, server_final: bytes) -> None:
        """Raises BadExchange when the server does not know the password's verifier."""
        wanted = b"v=" + base64.b64encode(self._signature)
        if not self._signature or not hmac.compare_digest(server_final, wanted):
            raise BadExchange("The server does not know this device.")


def _is_proof(proof: bytes, stored_key: bytes, signed: bytes) -> bool:
    if len(proof) != len(stored_key):
        return False
    client_key = _xor(proof, hmac.digest(stored_key, signed, "sha256"))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), stored_key)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadExchange("A field of SCRAM is not base64.") from None


def _ascii_or_utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadExchange("SCRAM's messages are UTF-8.") from None


def _decode_name(name: str) -> str:
    """saslname (RFC 5802 7): "," and "=" are written "=2C" and "=3D"."""
    if re.search(r"=(?!2C|3D)", name):
        raise BadExchange("The user name cannot be read.")
    user = name.replace("=2C", ",").replace("=3D", "=")
    if not user or "\0" in user or len(user) > MAX_FIELD:
        raise BadExchange("A user name is missing or holds NUL.")
    return user
