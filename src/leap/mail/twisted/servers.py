"""IMAP and SMTP for mail programs on this machine, as Twisted services.

A service can be started again after it was stopped. `startService` gives a Deferred that fires when it listens; a
parent service ignores it, so that a failure is in Twisted's log.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from leap.mail.contract import AccountBackend
from leap.mail.imap.transport import is_loopback, serve_imap
from leap.mail.outgoing.gateway import gateway_handler
from leap.mail.smtp.contract import SmtpConfig
from leap.mail.smtp.transport import serve_smtp
from leap.mail.twisted.account import Account
from leap.mail.twisted.bridge import run, wait_for
from leap.soledad.wire import MAX_MESSAGE_BYTES

LOOPBACK = "127.0.0.1"

Address = tuple[str, int] | str
Answer = Account | None
Authenticate = Callable[[str, str], Deferred[Answer] | Coroutine[Any, Any, Answer] | Answer]


class Server(Protocol):
    """What `serve_imap` and `serve_smtp` give."""

    @property
    def address(self) -> Address: ...

    async def close(self) -> None: ...


class Logins:
    """Who may log in, by address: an `Authenticate` for accounts that are open already."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[Account, str]] = {}

    def add(self, account: Account, password: str) -> None:
        """`password` is the mail program's alone: never the account's passphrase. Raises ValueError if it is empty."""
        if not password:
            raise ValueError("A mail program needs a password.")
        self._accounts[account.address.lower()] = (account, password)

    def remove(self, account: Account) -> None:
        """New log-ins are refused; those there are go on."""
        self._accounts.pop(account.address.lower(), None)

    def __call__(self, user: str, password: str) -> Answer:
        account, right = self._accounts.get(user.strip().lower(), (None, ""))
        if account is not None and hmac.compare_digest(password.encode(), right.encode()):
            return account
        return None


class _Authenticator:
    """What the servers ask, answered by a function of Twisted's world. It is they who slow down wrong passwords."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def authenticate(self, user: str, password: str) -> AccountBackend | None:
        answer = self._authenticate(user, password)
        if asyncio.iscoroutine(answer):
            answer = Deferred.fromCoroutine(answer)
        if isinstance(answer, Deferred):
            answer = await wait_for(answer)
        return answer.asyncio.backend if isinstance(answer, Account) else None


class ListeningService(Service):
    """A server that listens while the service runs."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._changing = asyncio.Lock()

    @property
    def address(self) -> Address | None:
        """Where it listens: (host, port) as bound, or a path; None while it does not."""
        return self._server.address if self._server is not None else None

    def startService(self) -> Deferred[None]:
        """Begins to listen. The Deferred fails with OSError when the address is taken. Raises WrongReactor."""
        started = run(self._start())
        super().startService()  # type: ignore[no-untyped-call]
        return started

    def stopService(self) -> Deferred[None]:
        """Says good-bye to all who are connected, and fires when they have gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        return run(self._stop())

    async def _start(self) -> None:
        async with self._changing:
            if self._server is None and self.running:
                self._server = await self._listen()

    async def _stop(self) -> None:
        async with self._changing:
            server, self._server = self._server, None
            if server is not None:
                await server.close()

    @abstractmethod
    async def _listen(self) -> Server: ...


class ImapService(ListeningService):
    """IMAP on `host` and `port` (0: any free one), or on the unix socket `path`.

    `tls` means TLS from the first octet. Raises ValueError for an address beyond loopback without it.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        _check_privacy(host, path, tls)
        self._authenticator = _Authenticator(authenticate)
        self._host, self._port, self._path, self._tls = host, port, path, tls

    async def _listen(self) -> Server:
        authenticate = self._authenticator.authenticate
        return await serve_imap(
            authenticate, host=self._host, port=self._port, path=self._path, tls=self._tls
        )


class SmtpService(ListeningService):
    """SMTP submission into the account's outbox, at the same kinds of address.

    An account opened from its store alone has no outbox that sends: its mail is refused with a sentence.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        max_message: int = MAX_MESSAGE_BYTES,
    ) -> None:
        super().__init__()
        _check_privacy(host, path, tls)
        self._authenticator = _Authenticator(authenticate)
        self._host, self._port, self._path = host, port, path
        self._config = SmtpConfig(
            hostname="localhost",
            max_size=max_message,
            tls=tls,
            implicit_tls=tls is not None,
            auth="required",
            auth_needs_tls=tls is not None,
            dsn=True,
            require_tls=True,
        )

    async def _listen(self) -> Server:
        accounts = self._authenticator
        return await serve_smtp(
            lambda: gateway_handler(accounts), self._config, self._host, self._port, path=self._path
        )


def _check_privacy(host: str, path: Path | None, tls: ssl.SSLContext | None) -> None:
    if tls is None and path is None and not is_loopback(host):
        raise ValueError("Mail is served beyond this machine with TLS only.")
