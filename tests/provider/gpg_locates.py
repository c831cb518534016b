"""Run in namespaces of its own (`test_wkd_gpg`): a provider on port 443, and gpg looking for one of its users.

    python -m tests.provider.gpg_locates FOLDER HOST...

There only these HOSTs exist, by /etc/hosts, and all are the provider; its authority is the only one the system trusts.
Prints what gpg found, and what the provider was asked, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from leap.keymanager.openpgp import generate
from leap.provider.app import create_app
from leap.provider.provider import Provider
from leap.provider.tls import self_made_context
from leap.soledad import wire
from tests.provider.world import DOMAIN, account, opened

ALICE = f"alice@{DOMAIN}"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def lay(folder: Path, path: Path, content: str) -> None:
    """Puts a file of one's own over a file of the system, for this namespace alone."""
    ours = folder / path.name
    ours.write_text(content)
    subprocess.run(["mount", "--bind", str(ours), str(path.resolve())], check=True)


def prepare(folder: Path, hosts: list[str]) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lay(folder, Path("/etc/hosts"), "127.0.0.1 localhost " + " ".join(hosts) + "\n")
    lay(folder, Path("/etc/nsswitch.conf"), "hosts: files\n")
    lay(folder, Path("/etc/resolv.conf"), "nameserver 127.0.0.1\n")


class NoNames(asyncio.DatagramProtocol):
    """A name server that knows no name (RFC 1035 4.1.1, RCODE 3): gpg asks for SRV records, too."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        end = data.index(b"\0", 12) + 5  # of the one question
        header = data[:2] + b"\x81\x83" + data[4:6] + bytes(6)
        self._transport.sendto(header + data[12:end], address)


async def locate(folder: Path) -> tuple[int, str]:
    home = folder / "g"
    home.mkdir(mode=0o700)
    (home / "dirmngr.conf").write_text("standard-resolver\nno-use-tor\n")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--with-colons"]
    locating = ["--auto-key-locate", "clear,nodefault,wkd", "--locate-keys", ALICE]
    process = await asyncio.create_subprocess_exec(
        *gpg, *locating, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 40)
    ending = await asyncio.create_subprocess_exec(
        "gpgconf", "--homedir", str(home), "--kill", "all"
    )
    await ending.wait()
    assert process.returncode is not None
    return process.returncode, output.decode("utf-8", "replace")


async def serve(provider: Provider, folder: Path, asked: list[str]) -> web.AppRunner:
    names = [DOMAIN, f"openpgpkey.{DOMAIN}"]
    context, ca_file = await asyncio.to_thread(self_made_context, folder / "tls", names)
    lay(folder, AUTHORITIES, ca_file.read_text())
    info = wire.ProviderInfo(
        domain=DOMAIN,
        api_version=1,
        submission_host="localhost",
        submission_port=1,
        max_message_bytes=wire.MAX_MESSAGE_BYTES,
        signup_open=True,
    )
    app = create_app(provider, info)

    async def note(request: web.Request, reply: web.StreamResponse) -> None:
        asked.append(f"{request.host}{request.path_qs} {reply.status}")

    app.on_response_prepare.append(note)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 443, ssl_context=context).start()
    return runner


async def main(folder: Path, hosts: list[str]) -> None:
    prepare(folder, hosts)
    loop = asyncio.get_running_loop()
    names, _ = await loop.create_datagram_endpoint(NoNames, local_addr=("127.0.0.1", 53))
    key = generate(ALICE, name="Alice", now=lambda: time.time() - 60)
    asked: list[str] = []
    async with opened(folder / "provider") as provider:
        number = await account(provider, "alice")
        await provider.directory.put(number, ALICE, key.certificate.binary)
        runner = await serve(provider, folder, asked)
        code, output = await locate(folder)
        provider.events.close()
        await runner.cleanup()
    names.close()
    said = {"code": code, "output": output, "asked": asked, "fingerprint": key.fingerprint}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
