"""Mail in every form into an account and out again, by processes that are killed at any moment; then all is compared.

Sources are a Maildir++ with folders, and one mbox of each kind. In the end a mailbox holds exactly the octets of its
source, each once; both exports hold the same; importing everything again, the exports too, brings nothing new.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from leap.mail.porting.eml import FolderSource
from leap.mail.porting.file_names import maildir_folder
from leap.mail.porting.maildir import MaildirSource
from leap.mail.porting.maildir_writer import MaildirTarget
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_kinds import KINDS, MboxKind, quoted, separator_line
from leap.mail.porting.mbox_writer import MboxTarget
from tests.mail.index_check import check_index
from tests.mail.porting.trip import bring_in, open_account, take_out

FOLDERS = ("INBOX", "Lists/Entwürfe", "Archiv & mehr/2026", "日本語", "a.b")
_LINES = [
    b"From the start",
    b">From quoted",
    b"text",
    b"",
    b"longer text " * 12,
    b"\xff\xfe8-bit",
    b"tab\t",
    b".",
]
_ENDS = ["lf", "lf", "lf", "crlf", "mixed"]
Held = dict[str, Counter[bytes]]  # SHA-256 of the messages of each mailbox


class Report(NamedTuple):
    messages: int
    octets: int
    kills: int
    imported: float  # seconds of import, kills and restarts included
    exported: float


def message(number: int, dice: random.Random, *, mboxo: bool = False, ends: str = "lf") -> bytes:
    """A mail that no other is equal to; `mboxo`: one which the kinds that quote once do not change."""
    lines = [b"Subject: mail %d" % number, b"Message-ID: <%d@example.test>" % number, b""]
    lines += dice.choices(_LINES, k=min(4000, int(dice.paretovariate(0.9)) + 2))
    lines.append(b"end of %d" % number)
    if mboxo:
        lines = [line for line in lines if not line.startswith(b">From")]
    joined = [line + (b"\r\n" if ends == "crlf" or (ends == "mixed" and at % 3 == 1) else b"\n")
              for at, line in enumerate(lines)]  # fmt: skip
    return b"".join(joined)


def make_sources(folder: Path, count: int, seed: int) -> tuple[Held, int]:
    """Half of the mails in a Maildir++ with folders, an eighth in an mbox of each kind."""
    dice = random.Random(seed)
    held: Held = {}
    octets = 0
    numbers = iter(range(count))
    for _, number in zip(range(count // 2), numbers, strict=False):
        name = dice.choice(FOLDERS)
        raw = message(number, dice, ends=dice.choice(_ENDS))
        place = folder / "maildir" / maildir_folder(name) / "cur"
        place.mkdir(parents=True, exist_ok=True)
        (
            place / f"{1_600_000_000 + number}.{number}.x:2,{dice.choice(['', 'S', 'FS', 'RS'])}"
        ).write_bytes(raw)
        _hold(held, name, raw)
        octets += len(raw)
    (folder / "mbox").mkdir()
    files = {kind: (folder / "mbox" / f"{kind}.mbox").open("wb") for kind in KINDS}
    for number in numbers:
        kind = KINDS[number % 4]
        raw = message(number, dice, mboxo=kind in ("mboxo", "mboxcl"))
        raw, written = as_kind(raw, kind)
        files[kind].write(separator_line(1_600_000_000 + number) + written + b"\n")
        _hold(held, kind, raw)
        octets += len(raw)
    for file in files.values():
        file.close()
    return held, octets


def as_kind(raw: bytes, kind: MboxKind) -> tuple[bytes, bytes]:
    """The message as this kind has it, with its length where that belongs, and how it is written."""
    header, _, body = raw.partition(b"\n\n")
    once = body.replace(b"\nFrom ", b"\n>From ")
    once = b">" + once if once.startswith(b"From ") else once
    if kind == "mboxrd":
        return raw, quoted(raw)
    if kind == "mboxo":
        return raw, header + b"\n\n" + once
    inside = once if kind == "mboxcl" else body
    header += b"\nContent-Length: %d\n\n" % len(inside)
    return header + body, header + inside


def _hold(held: Held, name: str, raw: bytes) -> None:
    held.setdefault(name, Counter())[hashlib.sha256(raw).digest()] += 1


# -- one step, here or in a process that may be killed


async def step(name: str, store: Path, where: Path) -> tuple[int, dict[str, int]]:
    """Imports from `where`, or exports to it; answers how many messages that were, and what was odd."""
    account = await open_account(store)
    try:
        match name:
            case "import maildir":
                report = await bring_in(account, MaildirSource(where))
            case "import mbox":
                report = await bring_in(account, FolderSource(where))
            case "export maildir":
                report = await take_out(account, MaildirTarget(where))
            case _:
                report = await take_out(account, MboxTarget(where))
        return report.done, dict(report.odd)
    finally:
        await check_index(account.store)
        await account.close()


def killed(name: str, store: Path, where: Path, kills: int, dice: random.Random) -> int:
    """The same in a process that is killed up to `kills` times, each time later; answers how often it was."""
    for number in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, name, str(store), str(where)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # with the helpers it starts
        )
        try:
            code = process.wait(0.6 + dice.random() * (1 + number))
            assert code == 0, f"{name} ended with {code}"
            return number
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return kills


# -- the comparison


def in_maildir(folder: Path, names: Iterator[str]) -> Held:
    held: Held = {}
    for name in names:
        for path in (folder / maildir_folder(name) / "cur").iterdir():
            _hold(held, name, path.read_bytes())
    return held


def in_mboxes(folder: Path) -> Held:
    held: Held = {}
    for path in folder.rglob("*.mbox"):
        with MboxFile(path, "mboxrd") as box:
            for one in box.messages(lambda _: None, 1 << 40):
                _hold(held, path.relative_to(folder).as_posix(), one.raw)
    return held


async def torment(folder: Path, count: int, seed: int, kills: int) -> Report:
    """The whole journey of `count` mails; each of its four steps is killed up to `kills` times."""
    dice = random.Random(seed + 1)
    held, octets = await asyncio.to_thread(make_sources, folder, count, seed)
    store, maildir, mbox = folder / "store.db", folder / "out-maildir", folder / "out-mbox"
    done, times = 0, [time.monotonic()]
    for name, where in (
        ("import maildir", folder / "maildir"),
        ("import mbox", folder / "mbox"),
        ("export maildir", maildir),
        ("export mbox", mbox),
    ):
        done += await asyncio.to_thread(killed, name, store, where, kills, dice)
        await step(name, store, where)
        times.append(time.monotonic())
    found = await asyncio.to_thread(in_maildir, maildir, iter(held))
    assert found == held, "the Maildir holds something else than the sources"
    assert not list((maildir / "tmp").iterdir()) or kills
    boxes = await asyncio.to_thread(in_mboxes, mbox)
    assert sum(boxes.values(), Counter()) == sum(held.values(), Counter()), "the mboxes do"
    for name, where in (
        ("import maildir", folder / "maildir"),
        ("import mbox", folder / "mbox"),
        ("import maildir", maildir),
        ("import mbox", mbox),
        ("export maildir", maildir),
        ("export mbox", mbox),
    ):
        made, odd = await step(name, store, where)
        assert made == 0, f"{name} of {where.name} again: {made} new, {odd}"
    return Report(count, octets, done, times[2] - times[0], times[4] - times[2])


if __name__ == "__main__":
    asyncio.run(step(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
