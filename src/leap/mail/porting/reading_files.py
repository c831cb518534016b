"""Reads files of other programs: only ordinary ones, none above a limit, and never through a link.

A pipe or device in a folder must not hold up an import, and a link must not bring in what lies elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from leap.mail.porting.found import Oddity, Tell, shown_path

MAX_DEPTH = 40  # folders in folders; deeper is no mail, and recursion stays far from its limit


class FileContent(NamedTuple):
    data: bytes
    modified: int  # seconds since 1970


def open_plain(path: Path) -> int:
    """A descriptor of an ordinary file. Raises OSError for links, pipes, devices and folders."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is no ordinary file", str(path))
    return descriptor


def read_plain(path: Path, limit: int, tell: Tell) -> FileContent | None:
    """A whole file; None when it cannot be read or is above the limit, which is told."""
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            modified = int(os.fstat(file.fileno()).st_mtime)
            data = file.read(limit + 1)
    except OSError as error:
        tell(unreadable(path, error))
        return None
    if len(data) > limit:
        tell(too_large(shown_path(path), limit))
        return None
    return FileContent(data, modified)


def unreadable(path: Path, error: OSError) -> Oddity:
    why = "it is a link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
    return Oddity("unreadable", shown_path(path), f"It cannot be read: {why}.")


def too_large(where: str, limit: int) -> Oddity:
    return Oddity("too-large", where, f"It is larger than {limit // 1024**2} MiB, the limit.")


def entries(folder: Path, tell: Tell) -> tuple[list[str], list[str]]:
    """Names of (folders, other entries), sorted; links to folders are told and not followed."""
    folders, others = [], []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_symlink() and entry.is_dir():
                    tell(
                        Oddity("unreadable", shown_path(entry.path), "It is a link, not followed.")
                    )
                else:
                    others.append(entry.name)
    except OSError as error:
        tell(unreadable(folder, error))
    return sorted(folders), sorted(others)


def walk(root: Path, tell: Tell) -> Iterator[tuple[Path, tuple[str, ...], list[str], list[str]]]:
    """(folder, its levels below `root`, its folders, its other entries), parents first; hidden folders left out."""
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while waiting:
        folder, levels = waiting.pop()
        folders, others = entries(folder, tell)
        yield folder, levels, folders, others
        if len(levels) >= MAX_DEPTH:
            if folders:
                tell(Oddity("skipped", shown_path(folder), "Folders are nested too deeply here."))
            continue
        for name in reversed(folders):
            # The three folders of a Maildir are no mailboxes
            if not name.startswith(".") and name not in ("cur", "new", "tmp"):
                waiting.append((folder / name, (*levels, name)))
