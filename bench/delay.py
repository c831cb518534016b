"""A TCP proxy that holds everything back: `python -m bench.delay HOST PORT SECONDS --ready-fd N`, as a far line does.

Each piece is passed on so many seconds after it came, in both directions; how much is under way is not limited.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

import uvloop


class _Side(asyncio.Protocol):
    """One of the two connections of a line."""

    def __init__(self, delay: float, other: _Side | None = None) -> None:
        self._delay = delay
        self.other = other
        self.transport: Any = None
        self._early: list[bytes | None] = []  # came before the other side was connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._pass_on, None)

    def _pass_on(self, data: bytes | None) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        elif data is None:
            self.other.transport.close()
        else:
            self.other.transport.write(data)

    def joined(self, other: _Side) -> None:
        self.other = other
        early, self._early = self._early, []
        for data in early:
            self._pass_on(data)


async def _serve(host: str, port: int, delay: float, ready: int) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(near: _Side) -> None:
        _, far = await loop.create_connection(lambda: _Side(delay, near), host, port)
        near.joined(far)

    class Near(_Side):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            task = loop.create_task(connect(self))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await loop.create_server(lambda: Near(delay), "127.0.0.1", 0)
    with os.fdopen(ready, "wb") as pipe:
        pipe.write(json.dumps({"port": server.sockets[0].getsockname()[1]}).encode() + b"\n")
    await server.serve_forever()


def main() -> int:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(prog="bench.delay")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(_serve(options.host, options.port, options.seconds, options.ready_fd))
    return 0


if __name__ == "__main__":
    sys.exit(main())
