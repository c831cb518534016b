"""The daemon's servers for mail programs: IMAP and SMTP on TCP and on unix sockets, and what tells programs of them.

Invariants: without TLS they listen on loopback; unix sockets are their owner's only; the autoconfiguration listens on
loopback whatever the others do; a port once chosen is kept, for it stands in the settings of mail programs.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from leap.bitmask.autoconfig import AutoconfigServer, LocalServer
from leap.bitmask.home import Home
from leap.bitmask.sessions import AccountSessions
from leap.mail.contract import AccountBackend
from leap.mail.imap.transport import ImapServer, is_loopback, serve_imap
from leap.mail.outgoing.gateway import gateway_handler
from leap.mail.smtp.contract import SmtpConfig
from leap.mail.smtp.transport import SmtpServer, serve_smtp
from leap.soledad.local_certificate import fingerprint, local_tls
from leap.soledad.wire import MAX_MESSAGE_BYTES

LOOPBACK = "127.0.0.1"
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - what a program on this machine uses instead
# IMAP's and SMTP's are those of the original Bitmask, which people know.
DEFAULT_PORTS = {"imap": 1984, "smtp": 2013, "autoconfig": 2012}

_Server = TypeVar("_Server")


class StartFailure(Exception):
    """The daemon cannot start; `kind` is a word for programs."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class ServerOptions:
    """What was asked for at the start; None keeps what the settings say. Port 0 is any free one."""

    imap_port: int | None = None
    smtp_port: int | None = None
    autoconfig_port: int | None = None
    tls: bool | None = None
    listen: str | None = None

    def port(self, name: str) -> int | None:
        asked: int | None = getattr(self, f"{name}_port")
        return asked


class LocalServers:
    """All of them, started and ended together."""

    def __init__(self, home: Home, sessions: AccountSessions, options: ServerOptions) -> None:
        self._home = home
        self._sessions = sessions
        self._options = options
        self._tls: ssl.SSLContext | None = None
        self._listen = LOOPBACK
        self._imap: list[ImapServer] = []
        self._smtp: list[SmtpServer] = []
        self._autoconfig: AutoconfigServer | None = None
        self.addresses: dict[str, tuple[str, int]] = {}
        self.certificate: Path | None = None  # of TLS, for programs that want it as a file
        self.sockets: dict[str, Path] = {}

    async def start(self, runtime: Path) -> None:
        """Listens everywhere; unix sockets lie in `runtime`. Raises StartFailure."""
        settings = self._home.settings()
        self._choose(settings)
        if self._tls_wanted(settings):
            self.certificate = self._home.path / "tls" / "local.pem"
            self._tls = await asyncio.to_thread(local_tls, self.certificate, [self._listen])
        kept = settings.get("ports", {})
        self._imap.append(await self._on_port("imap", kept, self._serve_imap))
        self._smtp.append(await self._on_port("smtp", kept, self._serve_smtp))
        imap, smtp = (self._described(name) for name in ("imap", "smtp"))
        self._autoconfig = AutoconfigServer(self._home.accounts, imap, smtp)
        await self._on_port("autoconfig", kept, self._serve_autoconfig)
        self.sockets = {name: runtime / f"{name}.sock" for name in ("imap", "smtp")}
        self._imap.append(await serve_imap(self._sessions.authenticate, path=self.sockets["imap"]))
        self._smtp.append(
            await serve_smtp(self._handler, self._smtp_config(None), path=self.sockets["smtp"])
        )
        now = {
            "ports": {name: port for name, (_, port) in self.addresses.items()},
            "tls": self._tls is not None,
            "listen": self._listen,
        }
        if {name: settings.get(name) for name in now} != now:
            self._home.save_settings({**settings, **now})

    async def close(self) -> None:
        """Nothing new is accepted from here on."""
        if self._autoconfig is not None:
            await self._autoconfig.close()
        servers: list[ImapServer | SmtpServer] = [*self._imap, *self._smtp]
        for server in servers:
            await server.close()
        for path in self.sockets.values():
            path.unlink(missing_ok=True)

    def end_sessions(self, account: AccountBackend, reason: str) -> None:
        """Ends what mail programs have open for one account; a mail that is being sent is taken first."""
        for imap in self._imap:
            imap.end_sessions(account, reason)
        for smtp in self._smtp:
            smtp.end_sessions(account.address)

    @property
    def tls(self) -> bool:
        return self._tls is not None

    def autoconfig_url(self, address: str) -> str:
        host, port = self.addresses["autoconfig"]
        return f"http://{host}:{port}/mail/config-v1.1.xml?emailaddress={address}"

    def certificate_told(self) -> dict[str, str]:
        """The certificate's file and fingerprint for people who set up a mail program; nothing without TLS."""
        if self.certificate is None:
            return {}
        return {
            "certificate": str(self.certificate),
            "certificate_sha256": fingerprint(self.certificate),
        }

    # -- choices ------------------------------------------------------------------------------

    def _tls_wanted(self, settings: dict[str, Any]) -> bool:
        return bool(settings.get("tls")) if self._options.tls is None else self._options.tls

    def _choose(self, settings: dict[str, Any]) -> None:
        self._listen = self._options.listen or str(settings.get("listen", LOOPBACK))
        if not is_loopback(self._listen) and not self._tls_wanted(settings):
            raise StartFailure(
                "needs-tls",
                "Mail programs on other machines can be served with TLS only: start with --tls --listen"
                f" {self._listen}, or with --listen {LOOPBACK} for this machine alone.",
            )

    def _candidates(self, name: str, kept: dict[str, Any]) -> list[int]:
        """The ports to try, in order: what was asked, else what was kept, else the usual one or any."""
        asked, usual = self._options.port(name), DEFAULT_PORTS[name]
        if asked == 0 and name in kept:
            return [kept[name], 0]
        if asked is not None:
            return [asked]
        if name not in kept:
            return [usual, 0]
        # Programs ask the autoconfiguration once: its port may change, those of the others not.
        return [kept[name], 0] if name == "autoconfig" else [kept[name]]

    def _described(self, name: str) -> LocalServer:
        host, port = self.addresses[name]
        return LocalServer(host, port, self.tls)

    # -- listening ----------------------------------------------------------------------------

    async def _on_port(
        self,
        name: str,
        kept: dict[str, Any],
        serve: Callable[[int], Awaitable[tuple[_Server, tuple[str, int]]]],
    ) -> _Server:
        """Listens on the first port that is free."""
        ports = self._candidates(name, kept)
        for port in ports:
            try:
                server, (host, bound) = await serve(port)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise StartFailure(
                        "no-address",
                        f"{self._listen} is no address of this machine; choose another with `bitmask start --listen`.",
                    ) from error
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                if port == ports[-1]:
                    taken = error.errno == errno.EADDRINUSE
                    word = "in use by another program" if taken else "not allowed"
                    raise StartFailure(
                        "port-in-use",
                        f"Port {port} for {name.upper()} is {word}; free it, or choose another with "
                        f"`bitmask start --{name}-port N` (0: any).",
                    ) from error
            else:
                self.addresses[name] = (_ANY.get(host, host), bound)
                return server
        raise AssertionError("there is always a port to try")

    async def _serve_imap(self, port: int) -> tuple[ImapServer, tuple[str, int]]:
        server = await serve_imap(
            self._sessions.authenticate, host=self._listen, port=port, tls=self._tls
        )
        return server, _host_and_port(server.address)

    async def _serve_smtp(self, port: int) -> tuple[SmtpServer, tuple[str, int]]:
        server = await serve_smtp(self._handler, self._smtp_config(self._tls), self._listen, port)
        return server, _host_and_port(server.address)

    async def _serve_autoconfig(self, port: int) -> tuple[AutoconfigServer, tuple[str, int]]:
        assert self._autoconfig is not None, "made before it is started"
        await self._autoconfig.start(LOOPBACK, port)
        return self._autoconfig, self._autoconfig.address

    def _handler(self) -> Any:
        return gateway_handler(self._sessions)

    def _smtp_config(self, tls: ssl.SSLContext | None) -> SmtpConfig:
        return SmtpConfig(
            hostname="localhost",
            max_size=MAX_MESSAGE_BYTES,
            tls=tls,
            implicit_tls=tls is not None,
            auth="required",
            auth_needs_tls=False,
            dsn=True,
            require_tls=True,
            spool_folder=self._home.path,
        )


def _host_and_port(address: str | tuple[str, int]) -> tuple[str, int]:
    assert not isinstance(address, str), "these servers listen on TCP"
    return address[0], address[1]
