"""The conversation between the `bitmask` command and the daemon: one JSON line each way, on a unix socket.

    request  {"token": TOKEN, "command": NAME, "arguments": {...}}
    reply    {"ok": true, "result": ...}  or  {"ok": false, "kind": WORD, "message": SENTENCE}
    progress {"progress": {...}}, any number of them before the reply

The socket is 0600 and the token lies in daemon.json (0600): both keep other people of this machine out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from leap.bitmask.home import Home
from leap.mail.daemon_record import find_daemon

LINE_LIMIT = 4 * 1024 * 1024


class ControlError(Exception):
    """What the daemon refused, or why it could not be asked. `kind` is a stable word for programs."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotRunning(ControlError):
    """No daemon runs on this home."""

    def __init__(self) -> None:
        super().__init__("not-running", "bitmask is not running; start it with `bitmask start`.")


def daemon_record(home: Home) -> dict[str, Any] | None:
    """What the daemon that runs on this home wrote about itself, or None."""
    return find_daemon(home.path)


async def ask(
    home: Home,
    command: str,
    *,
    timeout: float = 120.0,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    **arguments: Any,
) -> Any:
    """The daemon's answer to a command. Raises NotRunning, or ControlError with the daemon's sentence.

    `timeout` is seconds between two lines from the daemon.
    """
    record = daemon_record(home)
    if record is None:
        raise NotRunning
    try:
        reader, writer = await asyncio.open_unix_connection(record["control"], limit=LINE_LIMIT)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning from error
    except OSError as error:
        raise ControlError(
            "no-access", f"The daemon's socket cannot be used: {error.strerror}."
        ) from error
    try:
        request = {"token": record["token"], "command": command, "arguments": arguments}
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        while True:
            line = await asyncio.wait_for(reader.readline(), timeout)
            if not line:
                raise ControlError(
                    "gone", "The daemon ended before it answered; see `bitmask status`."
                )
            reply = json.loads(line)
            if "progress" in reply:
                if on_progress is not None:
                    on_progress(reply["progress"])
                continue
            if reply.get("ok"):
                return reply.get("result")
            raise ControlError(
                reply.get("kind", "error"), reply.get("message", "The daemon refused.")
            )
    except TimeoutError as error:
        raise ControlError(
            "timeout", f"The daemon did not answer within {timeout:.0f} s."
        ) from error
    except ConnectionError as error:
        raise ControlError(
            "gone", "The daemon ended before it answered; see `bitmask status`."
        ) from error
    finally:
        writer.close()
