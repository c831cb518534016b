"""Postfix (Debian's) as a peer: an instance of its own in a folder of its own, on loopback, for one test.

It needs root, as Postfix's master does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import IN_CI, needs_program
from tests.mail.smtp.certificate import certificate_pem

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log
myhostname = postfix.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {boxes} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
transport_maps = inline:{{ {routes} }}
smtpd_tls_chain_files = {folder}/tls.pem
smtpd_tls_security_level = may
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_discard_ehlo_keywords =
smtp_tls_CAfile = {folder}/ca.pem
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_loglevel = 1
smtp_dns_support_level = disabled
local_transport = error:none
minimal_backoff_time = 1s
queue_run_delay = 1s
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    folder: Path
    port: int

    def mails(self, user: str) -> list[bytes]:
        """What lies in a mailbox."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / user).glob("new/*"))]

    def log(self) -> str:
        path = self.folder / "log" / "mail.log"
        return path.read_text() if path.exists() else ""

    async def wait_for_mail(self, user: str) -> bytes:
        await until(lambda: bool(self.mails(user)))
        return self.mails(user)[0]


def needs_postfix() -> str:
    """Its master program; without it, or without root, the test fails in CI and is skipped elsewhere."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{path}:/usr/sbin" if "/usr/sbin" not in path.split(":") else path
    program = needs_program("postfix")
    if os.geteuid() != 0:
        if IN_CI:
            pytest.fail("Postfix starts as root only")
        pytest.skip("Postfix starts as root only")
    return program


@contextlib.asynccontextmanager
async def postfix(
    folder: Path, domain: str, routes: Mapping[str, tuple[str, str, int]], *users: str
) -> AsyncIterator[Postfix]:
    """Takes mail for `users` of `domain`; `routes`: by which transport, host and port mail for other domains leaves."""
    program = needs_postfix()
    # Its own users must be able to reach it, which they are not below pytest's private folders.
    home = Path("/var/tmp") / f"postfix-{os.getpid()}-{folder.name}"
    shutil.rmtree(home, ignore_errors=True)
    owner = pwd.getpwnam("postfix")
    for name in ("etc", "queue", "data", "mail", "log"):
        (home / name).mkdir(parents=True)
    for name in ("data", "mail"):
        os.chown(home / name, owner.pw_uid, owner.pw_gid)
    secret, pem = certificate_pem()
    (home / "tls.pem").write_bytes(secret + pem)
    (home / "tls.pem").chmod(0o600)
    (home / "ca.pem").write_bytes(pem)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    boxes = ", ".join(f"{{ {user}@{domain} = {user}/ }}" for user in users)
    targets = ", ".join(f"{{ {other} = {_next_hop(*route)} }}" for other, route in routes.items())
    settings = _MAIN.format(
        folder=home, domain=domain, boxes=boxes, routes=targets, uid=owner.pw_uid, gid=owner.pw_gid
    )
    (home / "etc" / "main.cf").write_text(settings)
    (home / "etc" / "master.cf").write_text(_MASTER.format(port=port))
    await _run(program, "-c", str(home / "etc"), "start")
    running = Postfix(home, port)
    try:
        await until(lambda: _answers(port))
        yield running
    finally:
        await _run(program, "-c", str(home / "etc"), "stop")
        shutil.rmtree(home, ignore_errors=True)


async def until(condition: Callable[[], bool]) -> None:
    """What another program does is polled, with a deadline."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _next_hop(transport: str, host: str, port: int) -> str:
    return f"lmtp:inet:{host}:{port}" if transport == "lmtp" else f"{transport}:[{host}]:{port}"


async def _run(*command: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
        return probe.recv(4).startswith(b"220")
    return False
