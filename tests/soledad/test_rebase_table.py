"""The rebase table: every pair of operations on one row or one document, in both orders, with its outcome.

The device named first pushes first; the second one's operation is rebased on it. Afterwards both devices are equal.

Rows: a row begins in folder "in", with the flag "old" and no title; a copy is a row of its own. "in" may be read as a
mailbox: deleting it moves its rows (`leap.mail` does so where a mailbox document is deleted), renaming it touches none.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from leap.soledad.rows import SetEdit
from tests.soledad.memory_provider import Account, Device
from tests.soledad.two_devices import equal, pair

Operation = Callable[[Device, str], Coroutine[Any, Any, Any]]


def edit(add: str = "", remove: str = "") -> SetEdit:
    return SetEdit(add=frozenset(add.split()), remove=frozenset(remove.split()))


async def copy(device: Device, row: str) -> None:
    await device.insert(f"{row} copy", folder="copies", flags="old")


async def nothing(device: Device, row: str) -> None:
    """The other device does nothing."""


ROWS: dict[str, Operation] = {
    "nothing": nothing,
    "flag+": lambda d, r: d.update(r, flags=edit(add="new")),
    "flag-": lambda d, r: d.update(r, flags=edit(remove="old")),
    "title": lambda d, r: d.update(r, title=f"by {d.name}"),
    "move": lambda d, r: d.update(r, folder=f"of {d.name}"),
    "move+flag": lambda d, r: d.update(r, folder=f"of {d.name}", flags=edit(add="new")),
    "expunge": lambda d, r: d.expunge(r),
    "copy": copy,
}

# What is left of the row: folder, title, flags; None: it is gone. 1 and 2 stand for the first and the second device.
OLD = ("in", None, "old")
NEW = ("in", None, "new old")
BARE = ("in", None, "")
ROW_TABLE: dict[str, dict[str, Any]] = {
    # first \\ second
    "nothing": {
        "nothing": OLD,
        "flag+": NEW,
        "flag-": BARE,
        "title": ("in", "by 2", "old"),
        "move": ("of 2", None, "old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": None,
        "copy": OLD,
    },
    "flag+": {
        "nothing": NEW,
        "flag+": NEW,
        "flag-": ("in", None, "new"),  # of one set, each member counts for itself
        "title": ("in", "by 2", "new old"),
        "move": ("of 2", None, "new old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": None,  # an expunge beats changes of flags
        "copy": NEW,  # and the copy has the flags of when it was made
    },
    "flag-": {
        "nothing": BARE,
        "flag+": ("in", None, "new"),
        "flag-": BARE,
        "title": ("in", "by 2", ""),
        "move": ("of 2", None, ""),
        "move+flag": ("of 2", None, "new"),
        "expunge": None,
        "copy": BARE,
    },
    "title": {
        "nothing": ("in", "by 1", "old"),
        "flag+": ("in", "by 1", "new old"),
        "flag-": ("in", "by 1", ""),
        "title": ("in", "by 2", "old"),  # of one scalar, the later push counts
        "move": ("of 2", "by 1", "old"),
        "move+flag": ("of 2", "by 1", "new old"),
        "expunge": None,
        "copy": ("in", "by 1", "old"),
    },
    "move": {
        "nothing": ("of 1", None, "old"),
        "flag+": ("of 1", None, "new old"),
        "flag-": ("of 1", None, ""),
        "title": ("of 1", "by 2", "old"),
        "move": ("of 2", None, "old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": ("of 1", None, "old"),  # removed from "in": from there it is gone already
        "copy": ("of 1", None, "old"),
    },
    "move+flag": {
        "nothing": ("of 1", None, "new old"),
        "flag+": ("of 1", None, "new old"),
        "flag-": ("of 1", None, "new"),
        "title": ("of 1", "by 2", "new old"),
        "move": ("of 2", None, "new old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": ("of 1", None, "new old"),
        "copy": ("of 1", None, "new old"),
    },
    "expunge": {
        "nothing": None,
        "flag+": None,
        "flag-": None,
        "title": None,
        "move": ("of 2", None, "old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": None,
        "copy": None,  # the copy is a row of its own, and stays
    },
    "copy": {
        "nothing": OLD,
        "flag+": NEW,
        "flag-": BARE,
        "title": ("in", "by 2", "old"),
        "move": ("of 2", None, "old"),
        "move+flag": ("of 2", None, "new old"),
        "expunge": None,
        "copy": OLD,
    },
}


def named(outcome: Any, first: Device, second: Device) -> Any:
    """With the devices' names for 1 and 2."""
    if outcome is None:
        return None
    names = {"1": first.name, "2": second.name}
    return tuple(
        cell[:-1] + names[cell[-1]] if cell and cell[-1] in names else cell for cell in outcome
    )


def test_the_table_is_whole() -> None:
    assert set(ROW_TABLE) == set(ROWS)
    assert all(set(line) == set(ROWS) for line in ROW_TABLE.values())
    assert set(DOCUMENT_TABLE) == {(a, b) for a in DOCUMENTS for b in DOCUMENTS}


@pytest.mark.parametrize("laptop_first", [True, False])
async def test_rows(account: Account, laptop_first: bool) -> None:
    devices = await pair(account)
    first, second = devices if laptop_first else devices[::-1]
    pairs = [(one, two) for one in ROWS for two in ROWS]
    for one, two in pairs:
        await first.insert(f"{one}/{two}", flags="old")
    await equal(first, second)
    for one, two in pairs:
        await ROWS[one](first, f"{one}/{two}")
        if (one, two) == ("copy", "copy"):  # two copies are two rows: each device names its own
            await second.insert("copy/copy second", folder="copies", flags="old")
        else:
            await ROWS[two](second, f"{one}/{two}")
    await first.sync()
    rows = {row[0]: tuple(row[1:4]) for row in (await equal(second, first))["rows"]}
    found = {(one, two): rows.get(f"{one}/{two}") for one, two in pairs}
    wanted = {pair: named(ROW_TABLE[pair[0]][pair[1]], first, second) for pair in pairs}
    assert found == wanted
    copies = {row for row in rows if row.endswith(("copy", "second")) and rows[row][0] == "copies"}
    assert len(copies) == sum("copy" in pair for pair in pairs) + 1
    assert all(rows[row] == ("copies", None, "old") for row in copies)


async def test_the_same_row_made_on_both_devices_is_one_row(account: Account) -> None:
    """As when both fetch one mail from the inbox: the ids are computed alike."""
    laptop, phone = await pair(account)
    for place, (first, second) in enumerate(
        [("flag+", "nothing"), ("nothing", "flag+"), ("move", "flag+"), ("flag+", "move")]
    ):
        row = f"row{place}"
        for device, operation in ((laptop, first), (phone, second)):
            await device.insert(row, flags="old")
            await ROWS[operation](device, row)
        await laptop.sync()
        view = await equal(phone, laptop)
        assert [found[0] for found in view["rows"]].count(row) == 1
        made = next(found for found in view["rows"] if found[0] == row)
        assert ("new" in made[3].split()) == ("flag+" in (first, second))
        assert (made[1] == "in") == ("move" not in (first, second))


# --- documents ---


async def delete(device: Device, doc_id: str) -> None:
    await device.store.transact(lambda tx: tx.delete(doc_id))


def rewritten(kind: str, **fields: Any) -> Operation:
    """Sets fields of the document; "who" stands for the device."""

    async def job(device: Device, doc_id: str) -> None:
        values = {name: device.name if value == "who" else value for name, value in fields.items()}
        old = await device.content(doc_id)
        await device.put(doc_id, **{**old, **values})

    return job


DOCUMENTS: dict[str, Operation] = {
    "nothing": nothing,
    "rename": rewritten("", name="who"),
    "subscribe": rewritten("", sub=True),
    "same": rewritten("", same=1),
    "delete": delete,
}
BEFORE: dict[str, Any] = {"name": "box", "sub": False}
# (first, second): what a document with the merge "fields" is afterwards (a mailbox is one), and what one without a
# merge is: the versions that are there, the one that shows first.
KEPT, GONE = BEFORE, None
DOCUMENT_TABLE: dict[tuple[str, str], tuple[Any, list[Any]]] = {
    ("nothing", "nothing"): (KEPT, [KEPT]),
    ("nothing", "rename"): ({**KEPT, "name": 2}, [{**KEPT, "name": 2}]),
    ("nothing", "subscribe"): ({**KEPT, "sub": True}, [{**KEPT, "sub": True}]),
    ("nothing", "same"): ({**KEPT, "same": 1}, [{**KEPT, "same": 1}]),
    ("nothing", "delete"): (GONE, [GONE]),
    ("rename", "nothing"): ({**KEPT, "name": 1}, [{**KEPT, "name": 1}]),
    ("rename", "rename"): ({**KEPT, "name": 2}, [{**KEPT, "name": 1}, {**KEPT, "name": 2}]),
    ("rename", "subscribe"): (
        {"name": 1, "sub": True},
        [{**KEPT, "name": 1}, {**KEPT, "sub": True}],
    ),
    ("rename", "same"): (
        {**KEPT, "name": 1, "same": 1},
        [{**KEPT, "name": 1}, {**KEPT, "same": 1}],
    ),
    # An edit beats a deletion, so that none is lost; without a merge both are kept.
    ("rename", "delete"): ({**KEPT, "name": 1}, [{**KEPT, "name": 1}, GONE]),
    ("subscribe", "nothing"): ({**KEPT, "sub": True}, [{**KEPT, "sub": True}]),
    ("subscribe", "rename"): (
        {"name": 2, "sub": True},
        [{**KEPT, "sub": True}, {**KEPT, "name": 2}],
    ),
    ("subscribe", "subscribe"): ({**KEPT, "sub": True}, [{**KEPT, "sub": True}]),
    ("subscribe", "same"): (
        {**KEPT, "sub": True, "same": 1},
        [{**KEPT, "sub": True}, {**KEPT, "same": 1}],
    ),
    ("subscribe", "delete"): ({**KEPT, "sub": True}, [{**KEPT, "sub": True}, GONE]),
    ("same", "nothing"): ({**KEPT, "same": 1}, [{**KEPT, "same": 1}]),
    ("same", "rename"): (
        {**KEPT, "name": 2, "same": 1},
        [{**KEPT, "same": 1}, {**KEPT, "name": 2}],
    ),
    ("same", "subscribe"): (
        {**KEPT, "sub": True, "same": 1},
        [{**KEPT, "same": 1}, {**KEPT, "sub": True}],
    ),
    ("same", "same"): ({**KEPT, "same": 1}, [{**KEPT, "same": 1}]),  # equal edits do not conflict
    ("same", "delete"): ({**KEPT, "same": 1}, [{**KEPT, "same": 1}, GONE]),
    ("delete", "nothing"): (GONE, [GONE]),
    ("delete", "rename"): ({**KEPT, "name": 2}, [GONE, {**KEPT, "name": 2}]),
    ("delete", "subscribe"): ({**KEPT, "sub": True}, [GONE, {**KEPT, "sub": True}]),
    ("delete", "same"): ({**KEPT, "same": 1}, [GONE, {**KEPT, "same": 1}]),
    ("delete", "delete"): (GONE, [GONE]),
}


@pytest.mark.parametrize("laptop_first", [True, False])
@pytest.mark.parametrize("kind", ["merged", "unmerged"])
async def test_documents(account: Account, kind: str, laptop_first: bool) -> None:
    devices = await pair(account, merges={"merged": "fields"})
    first, second = devices if laptop_first else devices[::-1]
    for one, two in DOCUMENT_TABLE:
        await first.put(f"{one}/{two}", type=kind, **BEFORE)
    await equal(first, second)
    for one, two in DOCUMENT_TABLE:
        await DOCUMENTS[one](first, f"{one}/{two}")
        await DOCUMENTS[two](second, f"{one}/{two}")
    await first.sync()
    await equal(second, first)
    names = {1: first.name, 2: second.name}

    def filled(content: Any) -> Any:
        if content is None:
            return None
        name = content["name"]
        return {**content, "type": kind, "name": names.get(name, name)}

    for (one, two), (merged, versions) in DOCUMENT_TABLE.items():
        doc_id = f"{one}/{two}"
        document = await first.store.get_doc(doc_id, include_deleted=True)
        conflicts = [c.content for c in await first.store.get_doc_conflicts(doc_id)]
        if kind == "merged":
            found = None if document is None else document.content
            assert (found, conflicts) == (filled(merged), []), doc_id
        else:
            found = conflicts or [None if document is None else document.content]
            assert found == [filled(version) for version in versions], doc_id
