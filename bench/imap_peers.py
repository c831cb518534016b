"""The servers which the IMAP bench measures: our daemon, synced with a running provider, and Dovecot beside it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.imap_load import Client
from tests.scenarios.world import Device, World, world

SETTINGS = """
protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
ssl = no
disable_plaintext_auth = no
mail_fsync = never
mail_location = mdbox:{home}/mail/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
default_login_user = nobody
default_internal_user = nobody
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password=bench
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={home}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
  service_count = 0
  process_min_avail = 1
}}
service anvil {{
  chroot =
}}
"""


@dataclass
class Server:
    """Where a server listens, and how one logs in."""

    name: str
    host: str
    port: int
    user: str
    password: str

    def client(self) -> Client:
        return Client(self.host, self.port, self.user, self.password)


@contextmanager
def dovecot(folder: Path) -> Iterator[Server]:
    """Debian's Dovecot with mdbox, without fsync. Needs root. Raises RuntimeError without it."""
    program = shutil.which("dovecot") or "/usr/sbin/dovecot"
    if os.getuid() or not Path(program).exists():
        raise RuntimeError("Dovecot needs root and the package dovecot-imapd.")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    home = folder / "dovecot"
    (home / "mail").mkdir(parents=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(home / "mail", nobody.pw_uid, nobody.pw_gid)
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)  # nobody must reach what is its own
    settings = home / "dovecot.conf"
    settings.write_text(SETTINGS.format(home=home, port=port))
    process = subprocess.Popen([program, "-F", "-c", str(settings)], stdin=subprocess.DEVNULL)
    try:
        server = Server("Dovecot", "127.0.0.1", port, "alice", "bench")
        deadline = time.monotonic() + 20
        while True:
            try:
                server.client().close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((home / "log").read_text()[-2000:]) from None
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def ours(folder: Path) -> Iterator[tuple[Server, Device, World]]:
    """A daemon with an account of a provider that runs beside it."""
    with world(folder) as made:
        device = made.device("laptop")
        device.create("alice")
        yield server_of(device), device, made


def server_of(device: Device) -> Server:
    login = device.logins["alice"]["imap"]
    return Server("leap.mail", login["host"], login["port"], login["user"], login["password"])


def wait_until_synced(device: Device, patience: float = 900.0) -> float:
    """Seconds until nothing waits to be sent to the provider."""
    began = time.monotonic()
    while True:
        status = device.ask("sync-status", address="alice@example.test")
        if not status["pending"] and not status["blobs_to_send"]:
            return time.monotonic() - began
        if time.monotonic() - began > patience:
            raise TimeoutError("the account does not come to rest")
        time.sleep(0.5)
