"""Every attack mail gets the verdict that was written down for it, and no mail one that is better than the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from leap.keymanager.canonical import canonical
from leap.keymanager.trust import Level
from leap.mail.incoming.opening import Opened
from tests.mail.incoming.attacks import make_attacks, people
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.verdicts.judging import Row, false_good, faults, lies
from tests.mail.incoming.verdicts.ring import Ring

FOLDER = Path(__file__).parent


class Table(msgspec.Struct, forbid_unknown_fields=True):
    attack: list[Row]


ROWS = msgspec.toml.decode(make_attacks.TABLE.read_bytes(), type=Table).attack
BENIGN = "benign"


def ring() -> Ring:
    bound = {
        canonical(people.ADDRESSES[name]): [people.certificate_of(name)] for name in people.KNOWN
    }
    return Ring([people.bob()], bound)


async def opened(row: Row) -> Opened:
    return await open_with_look_ups((FOLDER / row.file).read_bytes(), ring())


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
async def test_its_verdict_is_the_one_written_down(row: Row) -> None:
    assert faults(await opened(row), row) == [], row.because


async def test_nothing_is_called_good_that_is_not() -> None:
    """Over all mails at once, whatever the rest of their verdicts is."""
    false = []
    for row in ROWS:
        one = await opened(row)
        false += [f"{row.file}: {what}" for what in (*false_good(one, row), *lies(one))]
    assert false == []


def test_there_are_enough_of_each_class_and_each_file_has_its_row() -> None:
    counts = Counter(row.kind for row in ROWS)
    print("attack mails", *counts.items(), sep="\n  ")
    assert len(counts) == 16
    assert min(counts.values()) >= 5
    assert counts.total() - counts[BENIGN] >= 70
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.eml")}
    assert files == {row.file for row in ROWS}
    assert len(files) == len(ROWS)


def test_a_mail_is_the_one_that_its_row_is_about() -> None:
    for row in ROWS:
        assert hashlib.sha256((FOLDER / row.file).read_bytes()).hexdigest() == row.sha256, row.file
        assert len(row.because) > 20, row.file


def test_the_mails_and_keys_come_out_of_their_sources_again() -> None:
    assert dict(make_attacks.all_mails()) == {
        row.file: (FOLDER / row.file).read_bytes() for row in ROWS
    }
    for name, data in people.key_files().items():
        assert (people.KEYS / name).read_bytes() == data


def test_good_is_due_somewhere_in_most_of_the_honest_mail() -> None:
    honest = [row for row in ROWS if row.kind == BENIGN]
    due = [
        row
        for row in honest
        if "good" in row.signatures or any("good" in one.signatures for one in row.covered)
    ]
    assert len(due) >= len(honest) - 2


async def test_a_good_signature_says_how_well_its_key_is_known() -> None:
    """It is the level of the sender's key, whether the signature covers the message or a part of it."""
    for row in ROWS:
        status = (await opened(row)).security
        within = [one for part in status.parts for one in part.signatures]
        for one in (*status.signatures, *within):
            if one.state == "good":
                assert one.level == Level.PROVIDER_TRUST.word, row.file
