"""The daemon's side of the control socket: reads one command a connection and answers it.

Invariants:
* A command's failure is told to the asker in one sentence; the daemon goes on.
* Nothing is done for a request without the token of daemon.json.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from leap.bitmask.control import LINE_LIMIT

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0  # seconds for the request line to arrive

Progress = Callable[[dict[str, Any]], None]
Command = Callable[[dict[str, Any], Progress], Awaitable[Any]]


class CommandRefused(Exception):
    """A command cannot be done; `kind` is a word for programs, the text a sentence for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def text(arguments: dict[str, Any], name: str) -> str:
    """An argument that must be there; raises CommandRefused."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandRefused("bad-request", f"The command lacks {name!r}.")
    return value


def text_or_none(arguments: dict[str, Any], name: str) -> str | None:
    """An argument that may be left out."""
    return text(arguments, name) if arguments.get(name) is not None else None


class LocalApi:
    """Serves named commands on a unix socket."""

    def __init__(self, path: Path, token: str, commands: dict[str, Command]) -> None:
        self.path = path
        self._token = token
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, str(self.path), limit=LINE_LIMIT
            )
        finally:
            os.umask(mask)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in list(self._talks):
            if talk is not asyncio.current_task():
                talk.cancel()
        self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.LimitOverrunError, asyncio.CancelledError):
            logger.debug("a control connection ended early")
        finally:
            self._talks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: dict[str, Any]) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        try:
            line = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT)
            request = json.loads(line)
            token, name, arguments = (
                request["token"],
                request["command"],
                request.get("arguments", {}),
            )
            if not (
                isinstance(token, str) and isinstance(name, str) and isinstance(arguments, dict)
            ):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            send(
                {
                    "ok": False,
                    "kind": "bad-request",
                    "message": "That is not a request bitmask knows.",
                }
            )
            await writer.drain()
            return
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            send({"ok": False, "kind": "no-access", "message": "The token is wrong."})
        elif (command := self._commands.get(name)) is None:
            send({"ok": False, "kind": "bad-request", "message": f"There is no command {name!r}."})
        else:
            send(await self._run(name, command, arguments, lambda step: send({"progress": step})))
        await writer.drain()

    async def _run(
        self, name: str, command: Command, arguments: dict[str, Any], progress: Progress
    ) -> dict[str, Any]:
        try:
            return {"ok": True, "result": await command(arguments, progress)}
        except CommandRefused as refusal:
            return {"ok": False, "kind": refusal.kind, "message": str(refusal)}
        except Exception:
            logger.exception("the command %s failed", name)
            return {
                "ok": False,
                "kind": "internal",
                "message": f"bitmask failed at {name}; its log says where.",
            }
