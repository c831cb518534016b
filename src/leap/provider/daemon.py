"""The provider as a process: one folder, three listening sockets, from start to SIGTERM.

Invariants:
* Ready is told when everything listens, never before.
* Ports chosen by the system are kept in the folder and used again while they are free.
* SIGTERM and SIGINT end within 3 seconds, whatever connections are open; what was answered is on disk.
* What prevents serving is one `CannotServe` with a sentence for the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import uvloop
from aiohttp import web

from leap.provider.app import create_app
from leap.provider.contract import Endpoint, MailServers, StartMail
from leap.provider.folder import BadFolder, FolderState, prepare_folder, save_state
from leap.provider.mx.authentication import MailChecks
from leap.provider.provider import Provider
from leap.provider.storage.schema import NewerStore
from leap.provider.submission.dkim_keys import BadDkimKey, DkimKeys
from leap.provider.tls import BadTlsFiles, self_made_context, server_context
from leap.soledad.errors import SoledadError, StoreLocked, WrongKey
from leap.soledad.private_file import write_private
from leap.soledad.wire import MAX_MESSAGE_BYTES, ProviderInfo

API_VERSION = 1
CLOSE_SECONDS = 1.0  # for each of mail side and HTTP side; together below the 3 s promised
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound

_log = logging.getLogger(__name__)


class CannotServe(Exception):
    """Why the provider does not start, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What the operator asked for; a port 0 means the last one used here, or any free one."""

    data: Path
    domain: str
    host: str = "127.0.0.1"
    api_port: int = 0
    mx_port: int = 0
    submission_port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    routes: Mapping[str, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    public_name: str | None = None
    signup_open: bool = True
    check_mail: bool = True
    dns_servers: tuple[Endpoint, ...] = ()  # none: those of the system
    refuse_disowned: bool = False
    ready_fd: int | None = None
    ready_file: Path | None = None


def serve(options: ServeOptions, start_mail: StartMail | None = None) -> None:
    """Serves until SIGTERM or SIGINT. Raises CannotServe."""
    os.umask(0o077)
    _raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options, start_mail or _find_start_mail()))
    except (BadFolder, BadTlsFiles, BadDkimKey, NewerStore) as error:
        raise CannotServe(str(error)) from None
    except StoreLocked:
        raise CannotServe(f"another leap-provider is running on {options.data}") from None
    except WrongKey:
        raise CannotServe(f"the database in {options.data} is damaged") from None
    except SoledadError as error:
        raise CannotServe(f"cannot use {options.data}: {error}") from None
    except OSError as error:
        raise CannotServe(f"cannot serve from {options.data}: {error.strerror or error}") from None


def _find_start_mail() -> StartMail:
    from leap.provider.mail_servers import start_mail

    return start_mail


async def _serve(options: ServeOptions, start_mail: StartMail) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = await asyncio.to_thread(prepare_folder, options.data, options.domain)
    tls, ca_file = await asyncio.to_thread(_tls, options)
    async with contextlib.AsyncExitStack() as stack:
        provider = await Provider.open(
            options.data, options.domain, signup_open=options.signup_open
        )
        stack.push_async_callback(provider.close)
        mail = await _start_mail(start_mail, provider, options, state, tls)
        stack.push_async_callback(_within, CLOSE_SECONDS, mail.close)
        api = await _start_api(provider, options, state, tls, mail, stack)
        ports = {"api": api[1], "mx": mail.mx_address[1], "submission": mail.submission_address[1]}
        if state.ports != ports:
            state.ports = ports
            await asyncio.to_thread(save_state, options.data, state)
        tidy = asyncio.create_task(provider.keep_tidy())
        stack.callback(tidy.cancel)
        await asyncio.to_thread(_tell_ready, options, api, ca_file, mail)
        _log.info("serving %s at %s", options.domain, _url(options, api))
        await stop.wait()
        _log.info("ending")
        provider.events.close()  # open event streams would hold the HTTP side until its deadline


async def _start_mail(
    start_mail: StartMail,
    provider: Provider,
    options: ServeOptions,
    state: FolderState,
    tls: ssl.SSLContext,
) -> MailServers:
    mx = (options.host, _port(options.host, options.mx_port, state.ports.get("mx")))
    submission = (
        options.host,
        _port(options.host, options.submission_port, state.ports.get("submission")),
    )
    signer = await asyncio.to_thread(DkimKeys(options.data, options.domain).signer)
    try:
        return await start_mail(
            provider,
            domain=options.domain,
            hostname=options.public_name or options.domain,
            routes=options.routes,
            tls=tls,
            mx=mx,
            submission=submission,
            checks=_mail_checks(options),
            refuse_disowned=options.refuse_disowned,
            signer=signer,
        )
    except OSError as error:
        in_use = [port for host, port in (mx, submission) if port and not _free(host, port)]
        raise _cannot_listen(error, options.host, in_use[0] if in_use else mx[1]) from None


def _mail_checks(options: ServeOptions) -> MailChecks | None:
    if not options.check_mail:
        return None
    from leap.provider.mx.authentication.resolver import DnsResolver

    return MailChecks(DnsResolver(options.dns_servers or None))


async def _start_api(
    provider: Provider,
    options: ServeOptions,
    state: FolderState,
    tls: ssl.SSLContext,
    mail: MailServers,
    stack: contextlib.AsyncExitStack,
) -> Endpoint:
    host, port = mail.submission_address[:2]
    info = ProviderInfo(
        domain=options.domain,
        api_version=API_VERSION,
        submission_host=options.public_name or _reachable(host),
        submission_port=port,
        max_message_bytes=MAX_MESSAGE_BYTES,
        signup_open=options.signup_open,
    )
    runner = web.AppRunner(
        create_app(provider, info),
        access_log=None,  # a line a request costs as much as the request, and tells who reads when
        handle_signals=False,
        auto_decompress=False,  # a small body must not become a large one
        shutdown_timeout=CLOSE_SECONDS,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    wanted = _port(options.host, options.api_port, state.ports.get("api"))
    site = web.TCPSite(runner, options.host, wanted, ssl_context=tls, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise _cannot_listen(error, options.host, wanted) from None
    bound: Any = runner.addresses[0]
    return bound[0], bound[1]


def _tls(options: ServeOptions) -> tuple[ssl.SSLContext, Path | None]:
    if options.tls_cert is not None and options.tls_key is not None:
        return server_context(options.tls_cert, options.tls_key), None
    names = [options.domain, f"openpgpkey.{options.domain}"]
    if options.public_name is not None:
        names.append(options.public_name)
    if options.host not in _WILDCARDS:
        names.append(options.host)
    return self_made_context(options.data / "tls", names)


def _tell_ready(
    options: ServeOptions, api: Endpoint, ca_file: Path | None, mail: MailServers
) -> None:
    line = (
        msgspec.json.encode(
            {
                "api": _url(options, api),
                "ca": None if ca_file is None else str(ca_file.absolute()),
                "data": str(options.data.absolute()),
                "pid": os.getpid(),
                "mx": [_reachable(mail.mx_address[0]), mail.mx_address[1]],
                "submission": [_reachable(mail.submission_address[0]), mail.submission_address[1]],
            }
        )
        + b"\n"
    )
    try:
        if options.ready_file is not None:
            write_private(options.ready_file, line)
        if options.ready_fd is not None:
            with os.fdopen(options.ready_fd, "wb") as pipe:
                pipe.write(line)
    except OSError as error:
        raise CannotServe(f"cannot tell that it is ready: {error.strerror}") from None


def _url(options: ServeOptions, api: Endpoint) -> str:
    host = options.public_name or _reachable(api[0])
    return f"https://[{host}]:{api[1]}" if ":" in host else f"https://{host}:{api[1]}"


def _reachable(host: str) -> str:
    """A name for clients on this machine when we listen everywhere."""
    return "localhost" if host in _WILDCARDS else host


def _port(host: str, asked: int, remembered: int | None) -> int:
    if asked or not remembered:
        return asked
    return remembered if _free(host, remembered) else 0


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _cannot_listen(error: OSError, host: str, port: int) -> CannotServe:
    if error.errno == errno.EADDRINUSE:
        return CannotServe(f"port {port} on {host} is in use")
    if error.errno == errno.EACCES:
        return CannotServe(f"port {port} on {host} needs more rights than this user has")
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return CannotServe(f"{host} is not an address of this machine")
    return CannotServe(f"cannot listen on {host} port {port}: {error.strerror or error}")


async def _within(seconds: float, close: Callable[[], Any]) -> None:
    """Closes, but for no longer than `seconds`; the process ends then in any case."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await close()


def _raise_file_limit() -> None:
    """One file a connection: the usual soft limit of 1024 is too few, the hard one is not."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
