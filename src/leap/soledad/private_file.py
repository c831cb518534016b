"""Small files that must be whole after a crash and that nobody else may read: written beside, then renamed.

Pure but for the disk: the provider and the daemon use it too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}  # what file systems without it answer


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file (mode 0600) so that a crash leaves the old one or the new one, durably."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(new.unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        on_failure.pop_all()
    sync_folder(path.parent)


def move_private(path: Path, target: Path) -> None:
    """Lets `path` take the place of `target`, durably."""
    path.replace(target)
    sync_folder(target.parent)


def remove_private(path: Path) -> None:
    """Removes a file, durably; one that is not there is removed already."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
