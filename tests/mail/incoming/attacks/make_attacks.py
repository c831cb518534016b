"""Writes the attack mails and the keys: `python -m tests.mail.incoming.attacks.make_attacks`, from the root.

Each module listed here is a class, and each of its public functions a mail. The same octets come out in every run. The
expected verdicts are not made here: they stand in verdicts.toml, written by people; only the sums there are filled in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.mail.incoming.attacks import (
    around,
    benign,
    bombs,
    building,
    covert,
    efail,
    expired,
    forged_fields,
    from_tricks,
    inline,
    integrity,
    key_ids,
    nested,
    others_keys,
    people,
    protected_headers,
    replayed,
    reply_leaks,
)

FOLDER = Path(__file__).parent
TABLE = FOLDER / "verdicts.toml"
CLASSES: tuple[ModuleType, ...] = (
    forged_fields,
    from_tricks,
    around,
    nested,
    efail,
    others_keys,
    replayed,
    expired,
    key_ids,
    covert,
    reply_leaks,
    inline,
    integrity,
    bombs,
    protected_headers,
    benign,
)


def all_mails() -> Iterator[tuple[str, bytes]]:
    """Every mail and the name of its file, CLASS/name.eml."""
    for module in CLASSES:
        folder = module.__name__.rpartition(".")[2].replace("_", "-")
        for name, make in vars(module).items():
            if name.startswith("_") or getattr(make, "__module__", "") != module.__name__:
                continue
            file = f"{folder}/{name.replace('_', '-')}.eml"
            building.begin(file)
            yield file, make()


def main() -> None:
    for name, data in people.key_files().items():
        (people.KEYS / name).write_bytes(data)
    table = TABLE.read_text()
    for file, raw in all_mails():
        path = FOLDER / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
        row = re.compile(rf'(?m)^file = "{re.escape(file)}"\nsha256 = "[0-9a-f]*"$')
        total = f'file = "{file}"\nsha256 = "{hashlib.sha256(raw).hexdigest()}"'
        table, found = row.subn(total, table)
        if found != 1:
            print(f"{file} has {found} rows in {TABLE.name}")
    TABLE.write_text(table)


if __name__ == "__main__":
    main()
