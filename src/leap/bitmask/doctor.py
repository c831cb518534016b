"""The daemon's side of `bitmask doctor`: maintenance of the store it holds, with progress while it goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leap.bitmask.local_api import Command, CommandRefused, Progress, text
from leap.bitmask.sentences import sentence
from leap.bitmask.session import AccountSession
from leap.mail.export_rules import MailCarrying
from leap.soledad.errors import SoledadError, StoreFull, Unreachable, WrongKey
from leap.soledad.maintenance import compact, export_store, import_store, verify
from leap.soledad.maintenance.archive import NotAnExport
from leap.soledad.maintenance.exporting import ContentMissing
from leap.soledad.maintenance.findings import Progress as Steps
from leap.soledad.maintenance.verify import SAMPLE

if TYPE_CHECKING:
    from leap.bitmask.sessions import AccountSessions

TELL_EVERY = 0.2  # seconds between two lines of progress
MOST_SAMPLED = 1_000_000


class Doctor:
    """The commands."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    def table(self) -> dict[str, Command]:
        return {
            "doctor-verify": self.verify,
            "doctor-export": self.export,
            "doctor-import": self.import_,
            "doctor-rebuild": self.rebuild,
            "doctor-compact": self.compact,
        }

    async def verify(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        sample = arguments.get("sample", SAMPLE)
        if not isinstance(sample, int) or not 0 <= sample <= MOST_SAMPLED:
            raise CommandRefused("bad-request", "The number of contents to sample is none.")
        with _refusals():
            report = await verify(
                session.store,
                remote=None if arguments.get("local") else session.client,
                sync=session.engine.sync,
                sample=sample,
                repair=bool(arguments.get("repair")),
                progress=told(progress),
            )
        if report.left < report.counts.total():
            await session.engine.retry_contents()
            await session.sync_now()
        return {"address": session.address, **report.as_json()}

    async def export(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        path, passphrase = text(arguments, "path"), text(arguments, "passphrase")
        with _refusals():
            made = await export_store(
                session.store,
                Path(path),
                passphrase,
                source=session.client,
                carrying=MailCarrying(),
                allow_missing=bool(arguments.get("allow_missing")),
                progress=told(progress),
            )
        waiting = sum(not entry.ended for entry in await session.account.outbox())
        return {
            "address": session.address,
            "path": path,
            "messages": made.rows,
            "documents": made.documents,
            "contents": made.blobs,
            "bytes": made.octets,
            "left_out": made.left_out,
            "outbox_waiting": waiting,
        }

    async def import_(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        if session.engine.status.provisional:
            raise CommandRefused(
                "provisional",
                "This device has not fetched the account for the first time yet; import when it has.",
            )
        with _refusals():
            taken = await import_store(
                session.store,
                Path(text(arguments, "path")),
                text(arguments, "passphrase"),
                carrying=MailCarrying(),
                progress=told(progress),
            )
        session.account.look_for_headers()
        return {
            "address": session.address,
            "from": taken.opening.address,
            "messages": taken.rows,
            "documents": taken.documents,
            "contents": taken.blobs,
            "present": taken.present,
            "left_out": taken.left_out,
        }

    async def rebuild(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        address = self._session(arguments).address
        rebuilt = await self._sessions.rebuild(address)
        return {"address": address, "rebuilt": rebuilt}

    async def compact(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        with _refusals():
            freed = await compact(session.store, progress=told(progress))
        return {
            "address": session.address,
            "freed": freed.bytes,
            "before": freed.before,
            "after": freed.after,
            "files": freed.files,
            "too_large": freed.too_large,
        }

    def _session(self, arguments: dict[str, Any]) -> AccountSession:
        return self._sessions.get(text(arguments, "address"))


def told(progress: Progress, clock: Callable[[], float] = time.monotonic) -> Steps:
    """Steps as progress of the command, a few a second."""
    last = float("-inf")

    def step(what: str, done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if now - last >= TELL_EVERY:
            last = now
            progress({"what": what, "done": done, "total": total})

    return step


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Errors of maintenance, as one sentence and one word each."""
    try:
        yield
    except NotAnExport as error:
        raise CommandRefused("not-an-export", sentence(error)) from error
    except WrongKey as error:
        raise CommandRefused("wrong-passphrase", sentence(error)) from error
    except ContentMissing as error:
        raise CommandRefused("content-missing", sentence(error)) from error
    except StoreFull as error:
        raise CommandRefused("storage-full", sentence(error)) from error
    except Unreachable as error:
        raise CommandRefused("unreachable", sentence(error)) from error
    except SoledadError as error:
        raise CommandRefused("store", sentence(error)) from error
