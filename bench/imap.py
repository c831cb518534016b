"""The IMAP server beside Dovecot: 10,000 messages of 30 kB, every operation of both in one run.

Ours encrypts, parses and indexes what it takes, in WAL NORMAL, while it syncs with a provider on this machine; Dovecot
keeps plain files (mdbox) without fsync. What is read is measured when our daemon has synced all; what is written
competes with the sync. Each row is a median; `ratio` is ours/theirs, `limit` what we demand.

BENCH_MESSAGES, BENCH_ROUNDS and BENCH_ROWS (names, with commas between) change what is run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.imap_load import Client, Refused
from bench.imap_mail import ABSENT, COMMON, RARE, mails
from bench.imap_peers import Server, dovecot, ours, wait_until_synced

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "10000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ROWS = [row for row in os.environ.get("BENCH_ROWS", "").split(",") if row]
APPENDED = min(1_000, MESSAGES)
SMALL = b"From: bob@example.test\r\nSubject: news\r\n\r\nIt is here.\r\n"
HEADERS = (
    "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority"
    " X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
)
# What is demanded: ("ratio", at most ours/theirs) or ("ms", at most).
LIMITS: dict[str, tuple[str, float]] = {
    "SELECT": ("ms", 1.0),
    "STATUS": ("ms", 1.0),
    "NOOP": ("ms", 0.3),
    "FETCH FLAGS": ("ratio", 1.5),
    "FETCH ENVELOPE BODYSTRUCTURE": ("ratio", 0.5),
    "FETCH Thunderbird's headers": ("ratio", 1.0),
    "FETCH all bodies": ("ratio", 2.0),
    "mbsync full": ("ratio", 1.2),
    "APPEND one by one": ("ratio", 1.2),
    "APPEND pipelined": ("ratio", 2.0),
    "MULTIAPPEND": ("ratio", 5.0),
    "STORE 1:*": ("ratio", 3.0),
    "COPY 1:*": ("ratio", 1.5),
    "MOVE 1:*": ("ratio", 1.5),
    "EXPUNGE": ("ratio", 2.0),
    "SEARCH SUBJECT": ("ratio", 0.3),
    "SEARCH FROM": ("ratio", 0.3),
    "SEARCH TEXT rare": ("ratio", 0.02),
    "SEARCH BODY rare": ("ratio", 0.02),
    "SEARCH TEXT absent": ("ratio", 0.02),
    "SEARCH TEXT common": ("ratio", 1.0),
    "SEARCH BODY common": ("ratio", 1.0),
    "SORT DATE": ("ratio", 1.0),
    "SORT SUBJECT": ("ratio", 1.0),
    "THREAD REFERENCES": ("ratio", 1.0),
    "IDLE notice": ("ms", 20.0),
}


class Measuring:
    """All operations on one server, in the order which each needs of the former."""

    def __init__(self, server: Server, folder: Path, mail: list[bytes]) -> None:
        self.server = server
        self.folder = folder
        self.mail = mail
        self.seconds: dict[str, float] = {}
        self.rest: Callable[[], object] = lambda: (
            None
        )  # waits until the server has nothing else to do

    def note(self, row: str, once: Callable[[], float], rounds: int = ROUNDS) -> None:
        if ROWS and row not in ROWS:
            return
        try:
            self.seconds[row] = statistics.median(once() for _ in range(rounds))
        except Refused as refused:
            print(f"{self.server.name}: {row}: {refused}", flush=True)

    def selected(self) -> Client:
        client = self.server.client()
        client.do('SELECT "Bench"')
        return client

    def on_new_connection(self, command: str) -> Callable[[], float]:
        def once() -> float:
            client = self.selected()
            try:
                return client.do(command)
            finally:
                client.close()

        return once

    def run(self) -> None:
        self.writing_new()
        self.rest()
        self.reading()
        self.searching()
        self.idling()
        self.changing()

    def writing_new(self) -> None:
        client = self.server.client()
        few = self.mail[:APPENDED]

        def adding(how: Callable[[str, list[bytes]], float]) -> Callable[[], float]:
            def once() -> float:
                client.fresh("BenchA")
                return how("BenchA", few)

            return once

        self.note("APPEND one by one", adding(client.append_each))
        self.note("APPEND pipelined", adding(client.append_pipelined))
        if "MULTIAPPEND" in client.capabilities:
            self.note("MULTIAPPEND", adding(client.append_many))
        client.fresh("BenchA")
        client.fresh("Bench")
        self.seconds["(filling)"] = client.append_many("Bench", self.mail)
        client.close()

    def reading(self) -> None:
        client = self.server.client()

        def select() -> float:
            client.do("EXAMINE INBOX")
            return client.do('SELECT "Bench"')

        self.note("SELECT", select, 21)
        status = 'STATUS "Bench" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)'
        self.note("STATUS", lambda: client.do(status), 101)
        self.note("NOOP", lambda: client.do("NOOP"), 301)
        client.close()
        for row, command in (
            ("FETCH FLAGS", "FETCH 1:* (FLAGS)"),
            ("FETCH ENVELOPE BODYSTRUCTURE", "FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE)"),
            ("FETCH Thunderbird's headers", HEADERS),
            ("FETCH all bodies", "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"),
        ):
            once = self.on_new_connection(command)
            if row != "FETCH all bodies" and (not ROWS or row in ROWS):
                once()  # warm
            self.note(row, once)
        self.note("mbsync full", self.mbsync)

    def mbsync(self) -> float:
        """A first pull into an empty Maildir."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            home, server = Path(name), self.server
            (home / "rc").write_text(
                f"IMAPAccount far\nHost {server.host}\nPort {server.port}\nUser {server.user}\n"
                f'Pass "{server.password}"\nSSLType None\nAuthMechs LOGIN PLAIN\n\n'
                "IMAPStore far\nAccount far\n\n"
                f"MaildirStore near\nPath {home}/\nInbox {home}/Inbox\n\n"
                "Channel bench\nFar :far:Bench\nNear :near:Bench\nCreate Near\nSync Pull\n"
                f"SyncState {home}/state\n"
            )
            began = time.perf_counter()
            subprocess.run(["mbsync", "-q", "-c", str(home / "rc"), "bench"], check=True)
            return time.perf_counter() - began

    def searching(self) -> None:
        for row, command in (
            ("SEARCH SUBJECT", f'UID SEARCH SUBJECT "{COMMON}"'),
            ("SEARCH FROM", 'UID SEARCH FROM "Tanaka"'),
            ("SEARCH TEXT rare", f'UID SEARCH TEXT "{RARE}"'),
            ("SEARCH BODY rare", f'UID SEARCH BODY "{RARE}"'),
            ("SEARCH TEXT absent", f'UID SEARCH TEXT "{ABSENT}"'),
            ("SEARCH TEXT common", f'UID SEARCH TEXT "{COMMON}"'),
            ("SEARCH BODY common", f'UID SEARCH BODY "{COMMON}"'),
            ("SORT DATE", "UID SORT (REVERSE DATE) UTF-8 ALL"),
            ("SORT SUBJECT", "UID SORT (SUBJECT) UTF-8 ALL"),
            ("THREAD REFERENCES", "UID THREAD REFERENCES UTF-8 ALL"),
        ):
            self.note(row, self.on_new_connection(command))

    def idling(self) -> None:
        """From the OK of an APPEND to the EXISTS which another, idling connection hears."""
        if ROWS and "IDLE notice" not in ROWS:
            return
        listening, adding = self.selected(), self.server.client()
        listening.idle()
        times = []
        for _ in range(15):
            adding.append_each("Bench", [SMALL])
            began = time.perf_counter()
            listening.until(b" EXISTS")
            times.append(time.perf_counter() - began)
            time.sleep(0.3)  # not the same moment of the other server's poll each time
        self.seconds["IDLE notice"] = statistics.median(times)
        listening.end_idle()
        listening.close()
        adding.close()

    def changing(self) -> None:
        client = self.selected()

        def store() -> float:
            took = client.do("STORE 1:* +FLAGS (\\Flagged)")
            client.do("STORE 1:* -FLAGS.SILENT (\\Flagged)")
            return took

        self.note("STORE 1:*", store)
        if ROWS and not {"COPY 1:*", "MOVE 1:*", "EXPUNGE"} & set(ROWS):
            return
        copied, moved, gone = [], [], []
        for number in range(ROUNDS):
            copies, moves = f"BenchC{number}", f"BenchM{number}"
            client.do('SELECT "Bench"')
            client.fresh(copies)
            copied.append(client.do(f'COPY 1:* "{copies}"'))
            client.fresh(moves)
            client.do(f'SELECT "{copies}"')
            moved.append(client.do(f'MOVE 1:* "{moves}"'))
            client.do(f'SELECT "{moves}"')
            client.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            gone.append(client.do("EXPUNGE"))
        for row, times in (("COPY 1:*", copied), ("MOVE 1:*", moved), ("EXPUNGE", gone)):
            self.seconds[row] = statistics.median(times)
        client.close()


def run() -> dict[str, dict[str, Any]]:
    """One row an operation: both servers' ms, ratio, limit."""
    mail = list(mails(MESSAGES))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "ours").mkdir()
        with ours(folder / "ours") as (server, device, _):
            mine = Measuring(server, folder, mail)
            mine.rest = lambda: wait_until_synced(device)
            mine.run()
        with dovecot(folder) as peer:
            theirs = Measuring(peer, folder, mail)
            theirs.run()
    rows: dict[str, dict[str, Any]] = {}
    for row, seconds in mine.seconds.items():
        other = theirs.seconds.get(row)
        ratio = None if other is None else seconds / other
        kind, limit = LIMITS.get(row, ("", 0.0))
        held = None if not kind else (seconds * 1e3 if kind == "ms" else ratio or 0.0) <= limit
        rows[row] = {
            "ours ms": round(seconds * 1e3, 3),
            "theirs ms": None if other is None else round(other * 1e3, 3),
            "ratio": None if ratio is None else round(ratio, 3),
            "limit": f"{limit:g} {'ms' if kind == 'ms' else 'x'}" if kind else None,
            "held": {True: "yes", False: "NO", None: None}[held],
        }
    return rows
