"""What the samples of a profile are about: `python -m bench.shares daemon|provider RAW`, shares of the CPU as JSON.

RAW is what `py-spy record -f raw` writes: a stack and a count a line. Each stack belongs to the innermost frame that
one of the patterns below knows; stacks of threads that only wait are left out.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

WAITING = ("EpollSelector.select", "Runner.run", "_worker (concurrent", "Database._run (")
ABOUT = {
    "daemon": (
        ("commits: pages encrypted and written", ("Database._run_group",)),
        ("which blobs are wanted next", ("load_wanted", "next_retry")),
        ("counting for the status", ("count_waiting",)),
        ("blobs put into the store and read from it", ("LocalBlobs.",)),
        ("blobs checked and opened", ("soledad/blobs/format.py", "soledad/envelope.py")),
        ("mailbox index", ("mail/projection.py", "mail/index_changes.py", "mail/listing.py")),
        ("header records opened and kept", ("mail/reading.py", "mail/storing.py", "mail/model.py")),
        (
            "pages verified and applied",
            ("soledad/syncing/", "soledad/rows.py", "soledad/digest.py"),
        ),
        ("passphrase and log-in", ("soledad/secrets.py", "soledad/login.py", "soledad/enrol.py")),
        ("start: imports", ("importlib",)),
        (
            "network, TLS and event loop",
            ("asyncio/", "aiohttp/", "ssl.py", "concurrent/", "remote/"),
        ),
    ),
    "provider": (
        ("start: imports", ("importlib", "provider/tls.py", "provider/cli.py:85")),
        ("commits: written and synced", ("Database._run_group",)),
        ("SQL", ("provider/storage/blobs.py", "provider/sync/log.py")),
        ("TLS", ("ssl.py",)),
        ("HTTP: requests read, replies written", ("aiohttp/",)),
        (
            "routes, tokens, MessagePack",
            ("provider/http/", "provider/tokens.py", "soledad/wire.py"),
        ),
        ("hops between threads", ("concurrent/", "threading.py", "soledad/sqlite.py", "asyncio/")),
    ),
}


def shares(program: str, lines: list[str]) -> dict[str, float]:
    """Percent of the samples by what they are about, the most first."""
    counted: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any(word in frames[-1] for word in WAITING):
            counted[_about(program, frames)] += int(count)
    total = counted.total()
    return {what: round(count / total * 100, 1) for what, count in counted.most_common()}


def _about(program: str, frames: list[str]) -> str:
    for frame in reversed(frames):
        for what, patterns in ABOUT[program]:
            if any(pattern in frame for pattern in patterns):
                return what
    return "other"


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_text().splitlines()
    print(json.dumps(shares(sys.argv[1], lines), indent=2))
