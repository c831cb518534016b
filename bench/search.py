"""Search over 100,000 mails: import with indexing, the size of the index, questions; beside notmuch on the same mail.

Both read the same Maildir: mails of 10 kB on average, of which about 3.9 kB are words, by Zipf's law from 60,000, and
the rest an attachment in base64; or, with BENCH_CORPUS, the files of that folder over and over, each time with a word
of its own. It is written once, where BENCH_DIR says it is to stay. BENCH_MAILS is how many. notmuch keeps its index in
the clear and leaves the mails where they are; it is asked in one process through its library, and by its command.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from leap.mail.local import OwnedAccount
from leap.mail.porting.batches import FileBatches
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.maildir import MaildirSource
from leap.mail.porting.report import PortingReport
from leap.soledad.sqlite import Connection

MAILS = int(os.environ.get("BENCH_MAILS", "100000"))
CORPUS = os.environ.get("BENCH_CORPUS", "")
VOCABULARY = 60_000
WORDS = 455  # of a mail
ROUNDS = 15
LARGEST = 1_000_000  # octets of a file of the corpus that is taken
_SYLLABLES = (
    "ka", "to", "mi", "ren", "sol", "bar", "din", "que", "lo", "fra", "ster", "um", "pli", "ne", "gor", "tha",
    "wi", "es", "ung", "per", "al", "on", "ti", "ve", "ma",
)  # fmt: skip


class Generator:
    """Makes the same mails from the same seed."""

    def __init__(self, seed: int = 5) -> None:
        self._random = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < VOCABULARY:
            count = self._random.choice((1, 2, 2, 3) if len(words) < 4_000 else (3, 4, 4, 5))
            words["".join(self._random.choices(_SYLLABLES, k=count))] = None
        self.words = list(words)
        self._weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))

    def mails(self, count: int) -> Iterator[bytes]:
        """So many; words `rareword0` to `rareword9` are in five each, `senders` are a thousand."""
        rare = {self._random.randrange(count): f"rareword{n // 5}" for n in range(50)}
        for number in range(count):
            yield self._mail(number, rare.get(number, ""))

    def _mail(self, number: int, rare: str) -> bytes:
        chosen = self._random
        words = chosen.choices(self.words, cum_weights=self._weights, k=WORDS)
        words.append(f"number{number} {rare}")
        subject = " ".join(chosen.choices(self.words, cum_weights=self._weights, k=6))
        sender = f"person{chosen.randrange(1_000)}"
        lines = [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)]
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(day_of(number)))
        file = base64.encodebytes(chosen.randbytes(3_900)).decode()
        return "\r\n".join((
            f"Return-Path: <{sender}@example.test>",
            f"Received: from mx.example.test by mail.example.test with ESMTPS id {chosen.randbytes(8).hex()}; {date}",
            f"From: {sender.title()} <{sender}@example.test>", "To: alice@example.test", f"Subject: {subject}",
            f"Date: {date}", f"Message-ID: <{number}.{chosen.randbytes(8).hex()}@example.test>",
            "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="b0undary"', "", "--b0undary",
            "Content-Type: text/plain; charset=utf-8", "", *lines, "--b0undary",
            f'Content-Type: application/octet-stream; name="file{number}.bin"',
            "Content-Transfer-Encoding: base64", "", file.replace("\n", "\r\n"), "--b0undary--", "",
        )).encode()  # fmt: skip


class Repeated(Generator):
    """The files of a folder over and over, with a word of their own and perhaps a rare one in the subject."""

    def __init__(self, folder: Path, seed: int = 5) -> None:
        super().__init__(seed)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._files = [path for path in files if path.stat().st_size <= LARGEST]

    def _mail(self, number: int, rare: str) -> bytes:
        head, gap, body = (
            self._files[number % len(self._files)].read_bytes().partition(b"\n\n")
        )  # CRLF files are left as they are: then all is head
        own = f"Subject: number{number} {rare}\nMessage-ID: <{number}@example.test>\n".encode()
        return own + head + gap + body


def day_of(number: int) -> int:
    """When the mail came: about 70 a day."""
    return 1_600_000_000 + number * 1_234


def write_maildir(folder: Path, count: int) -> None:
    """Writes them, unless they are there."""
    complete = folder.with_name(f"{folder.name}.complete")
    if complete.exists():
        return
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    generator = Repeated(Path(CORPUS)) if CORPUS else Generator()
    for number, raw in enumerate(generator.mails(count)):
        path = folder / "cur" / f"{number:07}.bench:2,S"
        path.write_bytes(raw)
        os.utime(path, (day_of(number), day_of(number)))
    complete.touch()


async def _import(account: OwnedAccount, folder: Path) -> float:
    """Seconds."""
    began = time.perf_counter()
    await import_mail(account, FileBatches(MaildirSource(folder)), ImportOptions(), PortingReport())
    return time.perf_counter() - began


QUESTIONS = {
    "a word in 5 mails": ("rareword3", "rareword3"),
    "a common word, first 50 by date": ("{common}", "{common}"),
    "two common words": ("{common} {second}", "{common} {second}"),
    "from and date": (
        "from:person77 after:2021-01-01 before:2022-01-01",
        "from:person77 date:2021-01-01..2021-12-31",
    ),
    "part of a word": ("areword3", None),
    "a phrase": ('"{phrase}"', '"{phrase}"'),
    "nothing": ("nosuchwordatall", "nosuchwordatall"),
}


def _words(generator: Generator, folder: Path) -> dict[str, str]:
    if CORPUS:
        return {"common": "the", "second": "and", "phrase": "on the other hand"}
    text = (folder / "cur" / f"{MAILS // 2:07}.bench:2,S").read_bytes().decode()
    line = text.split("charset=utf-8\r\n\r\n")[1].splitlines()[3]
    return {
        "common": generator.words[0],
        "second": generator.words[1],
        "phrase": " ".join(line.split()[:4]),
    }


async def _ours(folder: Path, home: Path, text_octets: int) -> dict[str, dict[str, Any]]:
    words = _words(Generator(), folder)
    out: dict[str, dict[str, Any]] = {}
    account = await OwnedAccount.open_path(home / "store.db", bytes(range(32)), "a@example.test")
    try:
        cpu = time.process_time()
        seconds = await _import(account, folder)
        cpu = time.process_time() - cpu

        def size(connection: Connection) -> int:
            octets: int = sum(
                connection.execute(f"SELECT sum(length(block)) FROM {name}_data").fetchone()[0]
                for name in ("mail_words", "mail_term_parts")
            ) + sum(
                connection.execute(sql).fetchone()[0]
                for sql in (
                    # each term stands in its row and in the index that makes it unique
                    "SELECT sum(2 * length(CAST(term AS BLOB)) + 14) FROM mail_term",
                    "SELECT count(*) * 110 FROM mail_text",
                )
            )
            return octets

        index = await account.store.read(size)
        out["import"] = {
            "leap.mail": seconds,
            "mails/s": MAILS / seconds,
            "text MB/s": text_octets / 1e6 / seconds,
            "index of text": index / text_octets,
            "own CPU s": cpu,  # without that of the process which prepares
        }
        for name, (question, _) in QUESTIONS.items():
            query = question.format(**words)
            runs = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                result = await account.search(query, 50)
                runs.append(time.perf_counter() - began)
            out[name] = {
                "leap.mail": statistics.median(runs) * 1000,
                "first ms": runs[0] * 1000,
                "found": len(result.found),
            }
    finally:
        await account.close()
    return out


_ASKING = """
import itertools, json, statistics, sys, time
import notmuch2
folder, rounds, questions = json.loads(sys.argv[1])
answers = {}
with notmuch2.Database(folder) as database:
    for name, question in questions.items():
        runs = []
        for _ in range(rounds):
            began = time.perf_counter()
            found = database.messages(question, sort=notmuch2.Database.SORT.NEWEST_FIRST)
            count = len([one.messageid for one in itertools.islice(found, 50)])
            runs.append(time.perf_counter() - began)
        answers[name] = (1000 * statistics.median(runs), count)
print(json.dumps(answers))
"""


def _notmuch(folder: Path, home: Path) -> dict[str, tuple[float, int, float | None]]:
    """Seconds to index, then milliseconds a question and how many it found (through its library, in one process), and
    milliseconds of its command."""
    config = home / "notmuch-config"
    config.write_text(
        f"[database]\npath={folder}\n[user]\nname=a\nprimary_email=alice@example.test\n[new]\ntags=inbox\n"
    )
    environment = {**os.environ, "NOTMUCH_CONFIG": str(config)}
    environment.pop("PYTHONPATH", None)
    began = time.perf_counter()
    subprocess.run(
        ["notmuch", "new", "--quiet"], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    out: dict[str, tuple[float, int, float | None]] = {
        "import": (time.perf_counter() - began, MAILS, None)
    }
    words = _words(Generator(), folder)
    questions = {
        name: question.format(**words)
        for name, (_, question) in QUESTIONS.items()
        if question is not None
    }
    asked = subprocess.run(
        ["/usr/bin/python3", "-c", _ASKING, json.dumps([str(folder), ROUNDS, questions])],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if asked.returncode == 0:
        for name, (median, count) in json.loads(asked.stdout).items():
            out[name] = (median, count, _command(questions[name], environment))
    return out


def _command(question: str, environment: dict[str, str]) -> float:
    runs = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [
                "notmuch",
                "search",
                "--output=messages",
                "--sort=newest-first",
                "--limit=50",
                question,
            ],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        runs.append(time.perf_counter() - began)
    return 1000 * statistics.median(runs)


def run() -> dict[str, dict[str, Any]]:
    """Import in seconds, questions in milliseconds (medians)."""
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        home = Path(name)
        kept = os.environ.get("BENCH_DIR")
        folder = (Path(kept) if kept else home) / f"search-{MAILS}{'-corpus' if CORPUS else ''}"
        write_maildir(folder, MAILS)
        text = _text_octets(folder)
        rows = uvloop.run(_ours(folder, home, text))
        if shutil.which("notmuch"):
            shutil.rmtree(folder / ".notmuch", ignore_errors=True)
            for label, (value, count, command) in _notmuch(folder, home).items():
                rows[label]["notmuch"] = value
                if command is not None:
                    rows[label] |= {"notmuch found": count, "its command": command}
            shutil.rmtree(folder / ".notmuch", ignore_errors=True)
        octets = sum(entry.stat().st_size for entry in os.scandir(folder / "cur"))
        rows["import"]["mail kB"] = octets / MAILS / 1000
        rows["import"]["text kB"] = text / MAILS / 1000
    return rows


def _text_octets(folder: Path) -> int:
    """Octets of searchable text, from a sample: header fields people search, decoded text, names."""
    from leap.mail.message import Message
    from leap.mail.search.texts import texts_of

    step = max(1, MAILS // 500)
    sample = sorted(os.listdir(folder / "cur"))[::step]
    total = sum(
        len(text.encode())
        for name in sample
        for text in texts_of(Message((folder / "cur" / name).read_bytes()), "people")
    )
    return total * MAILS // len(sample)
