"""A headless Thunderbird in a profile of its own, and the wire of Marionette by which it is told what to do.

A message is its length in decimal, a colon, and JSON: [0, id, command, parameters] there, [1, id, error, result] back.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 60.0  # seconds, for the start and for each answer
SCRIPTS = Path(__file__).with_name("actions.js")


class ScriptFailed(Exception):
    """What a script in Thunderbird threw."""


class Thunderbird:
    """A running Thunderbird; use it as a context manager."""

    def __init__(self, program: str, folder: Path, preferences: dict[str, Any]) -> None:
        self._profile = folder / "profile"
        self._profile.mkdir(parents=True)
        self.log = folder / "thunderbird.log"
        self.imap_log = folder / "imap.log"
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {"marionette.port": 0, **preferences}.items()
        ]
        (self._profile / "user.js").write_text("".join(lines))
        self._command = [program, "--headless", "--no-remote", "--marionette"]
        self._command += ["-remote-allow-system-access", "--profile", str(self._profile)]
        self._home = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._last = 0

    def __enter__(self) -> Thunderbird:
        environment = {
            "HOME": str(self._home),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "MOZ_LOG": "timestamp,sync,IMAP:4",
            "MOZ_LOG_FILE": str(self.imap_log),
            "MOZ_CRASHREPORTER_DISABLE": "1",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._connect()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def run(self, action: str, *arguments: Any) -> Any:
        """The result of a function of actions.js. Raises ScriptFailed."""
        script = f"{SCRIPTS.read_text()}\nreturn {action}(...arguments);"
        result = self.command(
            "WebDriver:ExecuteScript",
            {"script": script, "args": list(arguments), "sandbox": "system", "newSandbox": True},
        )
        return result["value"]

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        self._last += 1
        data = json.dumps([0, self._last, name, parameters]).encode()
        assert self._socket is not None
        self._socket.sendall(b"%d:%s" % (len(data), data))
        while True:
            kind, number, error, result = self._receive()
            if (kind, number) == (1, self._last):
                break
        if error is not None:
            raise ScriptFailed(f"{name}: {error['error']}: {error['message']}")
        return result

    def sent(self) -> list[str]:
        """The IMAP commands it sent so far, without their tags and with secrets left out by itself."""
        found = []
        for line in (
            self.imap_log.with_suffix(".log.moz_log").read_text(errors="replace").splitlines()
        ):
            _, mark, text = line.partition(":SendData: ")
            if mark:
                found.append(text.strip())
        return found

    def _connect(self) -> None:
        deadline = time.monotonic() + PATIENCE
        port_file = self._profile / "MarionetteActivePort"
        assert self._process is not None
        while not (port_file.exists() and port_file.read_text().strip()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Thunderbird did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        port = int(port_file.read_text())
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._receive()  # the greeting
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": int(PATIENCE * 1000)})

    def _receive(self) -> Any:
        assert self._socket is not None
        length = b""
        while not length.endswith(b":"):
            length += self._read(1)
        return json.loads(self._read(int(length[:-1])))

    def _read(self, count: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise AssertionError(f"Thunderbird is gone:\n{self.log.read_text()[-2000:]}")
            data += part
        return data
