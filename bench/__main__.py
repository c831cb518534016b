"""Runs benches by name. A bench is a module here with `run() -> dict`; listing it in `BENCHES` makes it known.

The dict has one entry per measured thing; each is a dict of numbers and words, and becomes a row of the table.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

BENCHES: dict[str, str] = {
    "openpgp": "encrypt+sign and decrypt+verify, beside gpg",
    "smtp": "the SMTP engine beside aiosmtpd, and the MX, mails of 30 kB",
    "soledad": "documents and their indexes, on this machine",
    "message": "MIME structure, beside the standard library",
    "provider": "a provider under load: blobs, commits, idle event streams; TLS and fsync on",
    "first_sync": "a second device of an account of 100,000 messages, near and far",
    "in_flight": "memory of the daemons with 1000 mails of 500 kB on their way",
    "porting": "import of a Maildir of 10,000 mails of 10 kB, and exports to Maildir and mbox",
    "exporting": "export and import of a mail account of 20,000 messages of 5 kB",
    "search": "import with indexing and questions over 100,000 mails, beside notmuch",
    "imap": "the IMAP server beside Dovecot, 10,000 messages of 30 kB",
    "imap_large": "the IMAP server with 100,000 messages and 1,000 folders",
    "imap_notices": "from the commit of a change to an idling client, by where it came from",
    "end_to_end": "1,000 mails of 10 kB from one mail program to another, and the latency of one",
    "incoming": "the full incoming pipeline with OpenPGP and MIME, over TLS",
}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of named values as aligned columns."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *columns]]
    lines += [[label, *(_cell(row.get(c)) for c in columns)] for label, row in rows.items()]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if value < 100 else f"{value:.0f}"
    return str(value)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benches named, or all; answers the exit code."""
    listing = "\n".join(f"  {name:12} {about}" for name, about in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure, beside a peer where there is one.",
        epilog=f"benches:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which to run; all if none is given"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench called {unknown[0]}; there are: {', '.join(BENCHES)}")
    results: dict[str, dict[str, Any]] = {}
    for name in options.names or BENCHES:
        results[name] = importlib.import_module(f"bench.{name}").run()
        if not options.json:
            print(f"\n{name}: {BENCHES[name]}\n{table(results[name])}", flush=True)
    if options.json:
        json.dump(results, sys.stdout)
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
