"""Reads many mutations in a process of its own, whose memory and time the system limits.

Run by the tests and by `python -m tests.soak openpgp`. Whatever is not an OpenPGPError ends the run, and so do memory
over `MEMORY` (the system refuses it: MemoryError) and a case of more than `HANGS` seconds; what was read is printed.
"""

from __future__ import annotations

import base64
import dataclasses
import faulthandler
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

MEMORY = 256 * 1024 * 1024  # octets over what the program itself takes, before anything is read
HANGS = 60.0
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass
class Report:
    """What came of it: how often read or refused, by error; seconds of CPU of the slowest case, octets of memory."""

    outcomes: dict[str, int]
    subjects: int
    slowest: float
    slowest_case: str
    grown: int

    @property
    def read(self) -> int:
        return self.outcomes["read"]

    @property
    def refused(self) -> int:
        return sum(self.outcomes.values()) - self.read


def run(count: int, seed: int) -> Report:
    """Reads `count` mutations in a limited process; raises AssertionError with what it printed when it fails."""
    command = [sys.executable, "-X", "faulthandler", "-m", __spec__.name, str(count), str(seed)]
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
    done = subprocess.run(
        command, capture_output=True, cwd=_ROOT, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-4_000:]
    return Report(**json.loads(done.stdout))


def play(count: int, seed: int) -> Report:
    """The same in this process, without limits."""
    from leap.keymanager.openpgp import OpenPGPError

    from .mutation_subjects import subjects
    from .mutations import mutate, mutate_structure

    everything = subjects()
    source = random.Random(seed)
    outcomes: Counter[str] = Counter(read=0)
    slowest, slowest_case = 0.0, ""
    before = _limit_memory() if __name__ == "__main__" else 0
    for number in range(count):
        if number % 64 == 0:
            faulthandler.dump_traceback_later(HANGS, exit=True)
        subject = everything[number % len(everything)]
        change = mutate if source.randrange(2) else mutate_structure
        changed = subject.seal(change(subject.data, source))
        started = time.process_time()
        try:
            subject.read(changed)
            outcomes["read"] += 1
        except OpenPGPError as error:
            outcomes[type(error).__name__] += 1
        except Exception:
            print(f"case {number} of seed {seed}: {subject.name}", file=sys.stderr)
            print(base64.b64encode(changed).decode(), file=sys.stderr)
            raise
        if (took := time.process_time() - started) > slowest:
            slowest, slowest_case = took, f"{subject.name}, case {number}"
    faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return Report(dict(outcomes), len(everything), slowest, slowest_case, grown)


def _limit_memory() -> int:
    """Lets this process have `MEMORY` more than now; answers the resident octets."""
    status = Path("/proc/self/status").read_text()
    sizes = {line.split(":")[0]: line.split() for line in status.splitlines()}
    limit = int(sizes["VmSize"][1]) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return int(sizes["VmHWM"][1]) * 1024


if __name__ == "__main__":
    json.dump(dataclasses.asdict(play(int(sys.argv[1]), int(sys.argv[2]))), sys.stdout)
