"""OpenPGP.js as a peer: one process of node for all tests of a module, asked by lines of JSON."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import IN_CI, needs_program

PEER = Path(__file__).parent.parent / "peers" / "openpgpjs" / "peer.mjs"
FOLDER = Path(sys.prefix) / "peers" / "openpgpjs"  # where tools/setup-peers puts it


class OpenPGPJS:
    """Asks OpenPGP.js, of version 6 unless told otherwise; what it refuses raises `Refused`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, *, library: int = 6, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"ask": what, "library": library, **request}, default=_encoded)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]


class Refused(Exception):
    """What OpenPGP.js says when it does not do what it was asked for."""


def _encoded(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


@contextmanager
def started() -> Iterator[OpenPGPJS]:
    """The peer, or the test is skipped, or in CI fails."""
    node = needs_program("node")
    if not (FOLDER / "node_modules" / "openpgp").is_dir():
        if IN_CI:
            pytest.fail("OpenPGP.js is not installed; tools/setup-peers installs it")
        pytest.skip("OpenPGP.js is not installed (tools/setup-peers says how)")
    process = subprocess.Popen(
        [node, str(PEER), str(FOLDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield OpenPGPJS(process)
    finally:
        process.communicate(timeout=30)
