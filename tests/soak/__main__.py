"""Runs the long runs by name and appends one line each to docs/soak.md: seed, count, result, seconds."""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine

RESULTS = Path(__file__).resolve().parent.parent.parent / "docs" / "soak.md"
HEADER = """# Long runs

What `make soak` found. Each line is one run of code of which `make test` runs a slice; its seed repeats it.

| day | run | seed | count | result | seconds | Python |
|---|---|---|---|---|---|---|
"""


def kills(count: int, seed: int) -> str:
    """`count` mails, half of them within one provider and half between two; one kill -9 for every 25 of them."""
    import tempfile
    from pathlib import Path

    from tests.scenarios.journey import one_provider, torment, two_providers

    told = []
    for way in (one_provider, two_providers):
        mails, turns = count // 2, count // 50
        with tempfile.TemporaryDirectory() as name, way(Path(name)) as journey:
            in_transit = torment(journey, mails, turns, seed)
            journey.check(mails, patience=600)
        named = way.__name__.replace("_", " ")
        told.append(f"{mails:,} with {named}: {turns} kills, {in_transit} with mail in transit")
    return f"each mail there exactly once, decrypted and its signature valid; {'; '.join(told)}"


def openpgp(count: int, seed: int) -> str:
    """`count` mutated messages, certificates, secret keys and signatures, in a process of limited memory."""
    from tests.keymanager.mutation_run import MEMORY, run

    report = run(count, seed)
    return (
        f"only OpenPGPError: {report.refused} refused, {report.read} read, of {report.subjects} subjects; slowest "
        f"{report.slowest * 1000:.0f} ms ({report.slowest_case}); memory grew by {report.grown / 2**20:.0f} of the "
        f"{MEMORY >> 20} MiB allowed"
    )


def messages(count: int, seed: int) -> str:
    """`count` mutations of the shared corpus, each read in every way there is."""
    from tests.conftest import SHARED
    from tests.mail.message.corpus_mail import corpus_mails, torment

    raws = [raw for raw in corpus_mails(SHARED / "corpus").values() if len(raw) < 20_000]
    report = torment(raws, count, seed)
    assert report.grown < 256 * 2**20, f"memory grew by {report.grown}"
    return (
        f"nothing raised, IMAP's grammar kept; {report.octets / 1e6:.0f} MB; slowest "
        f"{report.slowest * 1000:.0f} ms; memory grew by {report.grown / 2**20:.0f} MB"
    )


def corpus(count: int, seed: int) -> str:
    """The shared corpus asked everything, encrypted and opened, and into an account and back."""
    import asyncio
    import tempfile

    from tests.conftest import SHARED
    from tests.mail.message.corpus_mail import (
        ask_everything,
        corpus_mails,
        kept_exactly,
        mbox_mails,
    )
    from tests.mail.outgoing.test_round_trip import play_corpus

    folder = SHARED / "corpus"
    play_corpus(folder, 1)
    raws = [*corpus_mails(folder).values(), *mbox_mails(folder).values()]
    for raw in raws:
        ask_everything(raw)
    for _ in range(count):
        with tempfile.TemporaryDirectory() as name:
            kept = asyncio.run(kept_exactly(Path(name), raws))
    return f"{kept:,} mails came back with the same SHA-256 after closing and opening"


def argon2(count: int, seed: int) -> str:
    """The vectors of RFC 9580 whose passphrases take 2 GiB each."""
    from tests.keymanager.test_rfc9580 import play_argon2

    return f"{play_argon2()} opened with their passphrases"


STEPS = 50  # of one history of three devices


def _histories(machine: type[RuleBasedStateMachine], count: int, seed: int) -> str:
    """Runs histories of `STEPS` steps until `count` steps were taken."""
    from hypothesis import HealthCheck, settings
    from hypothesis import seed as with_seed
    from hypothesis.stateful import run_state_machine_as_test

    histories = -(-count // STEPS)
    run_state_machine_as_test(
        with_seed(seed)(machine),
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return f"all devices equal after each of {histories:,} histories of up to {STEPS} steps"


def convergence(count: int, seed: int) -> str:
    """`count` steps of three devices with rows and documents."""
    from tests.soledad.test_convergence import Convergence

    return _histories(Convergence, count, seed)


def mail_convergence(count: int, seed: int) -> str:
    """`count` steps of three devices with mail and mailboxes."""
    from tests.mail.test_convergence import MailConvergence

    return _histories(MailConvergence, count, seed)


def porting(count: int, seed: int) -> str:
    """`count` mails of a Maildir and of mboxes of all kinds in and out, by processes that are killed."""
    import asyncio
    import tempfile

    from tests.mail.porting.torment import torment

    with tempfile.TemporaryDirectory() as name:
        report = asyncio.run(torment(Path(name), count, seed, 10))
    return (
        f"{report.octets / 1e6:.0f} MB from a Maildir and mboxes of four kinds, out to both: equal octets, each once; "
        f"{report.kills} kills; nothing new when all was imported again; "
        f"in {report.imported:.0f} s, out twice {report.exported:.0f} s, kills included"
    )


def large_blob(count: int, seed: int) -> str:
    """One blob of `count` megabytes from a device through a provider to another one, each a process."""
    import asyncio
    import tempfile

    from tests.soledad.large_blob import MIB, measured

    with tempfile.TemporaryDirectory() as name:
        report = asyncio.run(measured(Path(name), count * MIB))
    assert report["intact"], "the content is another one"
    grown = {what: report[what] / MIB for what in ("laptop", "phone", "provider")}
    assert max(grown.values()) < 64, f"memory grows with the blob: {grown}"
    return "intact; memory grew by " + ", ".join(f"{who} {by:.0f} MB" for who, by in grown.items())


def key_families(count: int, seed: int) -> str:
    """The edits of `count` keys by gpg, over all families of algorithms in turn; gpg judges each."""
    import itertools

    from tests.keymanager.conftest import gpg_at_work
    from tests.keymanager.test_editing_gpg import FAMILIES, MORE_FAMILIES, play_edits

    families = [*FAMILIES, *MORE_FAMILIES]
    for turn in range(-(-count // len(families))):
        with gpg_at_work() as gpg:
            for family in itertools.islice(families, count - turn * len(families)):
                play_edits(gpg, family)
    return f"gpg took and used every edit of {', '.join(families[:count])}"


def imap_stress(count: int, seed: int) -> str:
    """Ten mail programs on one account for `count` seconds, half in memory, half on Soledad with a second device."""
    import asyncio
    import tempfile

    from tests.mail.imap.stress.run import Store, run

    stores: tuple[Store, ...] = ("memory", "soledad")
    kept = RESULTS.parent.parent / ".pytest_cache" / "imap-stress"
    told = []
    for store in stores:
        with tempfile.TemporaryDirectory() as name:
            report = asyncio.run(run(store, Path(name), seed, seconds=count / 2, kept=kept))
        told.append(
            f"{store}: {report.commands:,} commands in {report.connections} connections, {report.others:,} changes "
            f"from elsewhere, {report.facts:,} answers checked, {report.compared:,} models compared"
        )
    return "no difference; " + "; ".join(told)


def imap_fuzz(count: int, seed: int) -> str:
    """`count` mutated streams to sessions, whole and in pieces, and a hundred times as many commands to the grammar."""
    from tests.mail.imap.fuzzing import fuzz_framing, fuzz_grammar, fuzz_sessions

    grammar, sessions = fuzz_grammar(count * 100, seed), fuzz_sessions(count, seed)
    held = max(sessions.held, fuzz_framing(count, seed))
    return (
        f"only ImapSyntaxError for {grammar.commands:,} commands, {grammar.parsed:,} of them right, slowest "
        f"{grammar.slowest * 1000:.0f} ms; {sessions.streams:,} streams answered, the same however they were cut, "
        f"slowest {sessions.slowest * 1000:.0f} ms; at most {held:,} octets held; "
        f"memory grew by {sessions.grown >> 10} kB"
    )


def imap_kills(count: int, seed: int) -> str:
    """`count` times kill -9 in the middle of APPEND, STORE, COPY, MOVE and EXPUNGE; each fourth hits a whole daemon."""
    import asyncio
    import tempfile

    from tests.mail.imap.kills import Child, Daemon, torment
    from tests.scenarios.world import world

    with tempfile.TemporaryDirectory() as name:
        alone = asyncio.run(torment(Child(Path(name) / "store.db"), count - count // 4, seed))
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as made:
        device = made.device("laptop")
        device.create("alice")
        whole = asyncio.run(torment(Daemon(device), count // 4, seed))
    told = [
        f"nothing lost of {report.answered} commands answered; of {report.under_way} under way {report.carried_out} "
        f"were carried out, none in part; {report.uids} uids, none twice; {report.kills} kills of {what}"
        for what, report in (("a server alone", alone), ("the daemon, syncing", whole))
    ]
    return "; ".join(told)


def properties(count: int, seed: int) -> str:
    """Every property that `make test` tries with few examples, with `count` times as many."""
    import os
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", f"--hypothesis-seed={seed}"],
        cwd=RESULTS.parent.parent,
        env={**os.environ, "EXAMPLES_TIMES": str(count)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return f"{done.stdout.splitlines()[-1].split(',')[0]} with {count} times the examples"


RUNS: dict[str, tuple[Callable[[int, int], str], int]] = {
    "kills": (kills, 10_000),
    "openpgp": (openpgp, 100_000),
    "messages": (messages, 200_000),
    "corpus": (corpus, 1),
    "argon2": (argon2, 1),
    "convergence": (convergence, 20_000),
    "mail-convergence": (mail_convergence, 20_000),
    "porting": (porting, 100_000),
    "large-blob": (large_blob, 1024),
    "key-families": (key_families, 12),
    "imap-stress": (imap_stress, 600),
    "imap-fuzz": (imap_fuzz, 5_000),
    "imap-kills": (imap_kills, 100),
    "properties": (properties, 20),
}


def record(name: str, seed: int, count: int, result: str, seconds: float) -> None:
    if not RESULTS.exists():
        RESULTS.write_text(HEADER)
    day = datetime.date.today().isoformat()
    with RESULTS.open("a") as file:
        file.write(
            f"| {day} | {name} | {seed} | {count:,} | {result} | {seconds:.0f} | {platform.python_version()} |\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; all if none"
    )
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--count", type=int, help="instead of each run's own")
    options = parser.parse_args()
    failed = False
    for name in options.names or RUNS:
        if name not in RUNS:
            parser.error(f"there is no run {name}")
        run, count = RUNS[name]
        count = options.count or count
        print(f"{name}: {count:,} with seed {options.seed} …", flush=True)
        began = time.monotonic()
        try:
            result = run(count, options.seed)
        except Exception as error:
            traceback.print_exc()
            result, failed = f"FAILED: {type(error).__name__}", True
        seconds = time.monotonic() - began
        print(f"{name}: {result} ({seconds:.0f} s)", flush=True)
        record(name, options.seed, count, result, seconds)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
