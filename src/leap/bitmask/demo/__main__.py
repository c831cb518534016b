"""The demo's command line, and its life: until done, or until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import imaplib
import json
import signal
import smtplib
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from leap.bitmask.control import ControlError
from leap.bitmask.demo.journey import Journey
from leap.bitmask.demo.processes import DemoFailure
from leap.bitmask.home import HomeError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when both mails were read back")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, then end")
    parser.add_argument("--wait", action="store_true", help="with --json: stay up")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep everything in DIR, and start from it"
    )
    return parser.parse_args()


async def _demo(options: argparse.Namespace, folder: Path, words: Console) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    travelled = False

    def interrupted() -> None:
        stop.set()
        if not travelled:
            main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    journey = Journey(folder, words)
    try:
        async with journey.running():
            travelled = True
            if options.json:
                _print_line(json.dumps(journey.report()))
            if (options.json and not options.wait) or options.once:
                return 0
            journey.invitation()
            words.print("It stays up for you. Ctrl-C ends it.")
            ends = [asyncio.ensure_future(child.process.wait()) for child in journey.children]
            waiting = asyncio.ensure_future(stop.wait())
            await asyncio.wait([waiting, *ends], return_when=asyncio.FIRST_COMPLETED)
            lost = [
                c
                for c in journey.children
                if c.process.returncode is not None and not stop.is_set()
            ]
            for future in (waiting, *ends):
                future.cancel()
            if lost:
                raise DemoFailure(f"{lost[0].name} ended by itself: {lost[0].last_words()}")
            return 0
    except asyncio.CancelledError:
        words.print("Interrupted.")
        return 130


def _print_line(line: str) -> None:
    if sys.stdout is None:  # closed by whoever started us
        raise DemoFailure("There is no standard output to print the JSON line to.")
    print(line, flush=True)


def main() -> int:
    options = _arguments()
    words = Console(stderr=options.json, highlight=False)
    try:
        if options.keep is not None:
            folder = options.keep.expanduser().absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return asyncio.run(_demo(options, folder, words))
        with tempfile.TemporaryDirectory(prefix="leap-demo-") as name:
            return asyncio.run(_demo(options, Path(name), words))
    except (DemoFailure, ControlError, HomeError) as failure:
        words.print(f"[red]✗[/] {failure}")
    except smtplib.SMTPException as error:
        words.print(f"[red]✗[/] The local SMTP server refused: {error}")
    except imaplib.IMAP4.error as error:
        words.print(f"[red]✗[/] The local IMAP server refused: {error}")
    except TimeoutError:
        words.print("[red]✗[/] A step took too long.")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        words.print(f"[red]✗[/] {error.strerror or error}{where}")
    except KeyboardInterrupt:
        words.print("Interrupted.")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
