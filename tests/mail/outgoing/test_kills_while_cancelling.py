"""kill -9 while mail is sent and called back: whoever was told as cancelled never gets it, everybody else once."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest

from leap.mail.sent_fields import read_sent_fields
from tests.mail.outgoing.dying import CAROL, DAVE, EVE, Witness, letters, work
from tests.mail.travel import Person, open_person

STEP = 3  # one in three transactions; 1 finds no more, in three times the time


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def sent_copies(alice: Person) -> list[str]:
    """The names of the mails in Sent."""
    boxes = await alice.account.list_mailboxes()
    sent = next(one.mailbox_id for one in boxes if one.special_use == "\\Sent")
    rows = await alice.account.rows(sent)
    raws = [await alice.account.read(row.row_id) for row in rows]
    assert all(read_sent_fields(raw) for raw in raws)
    return [raw[-8:-2].decode() for raw in raws]


async def check(folder: Path, *, call_back: bool) -> tuple[int, int]:
    """Opens the outbox again, calls everything back or does not, sends what is left, and compares.

    Answers how many recipients are cancelled and sent.
    """
    provider = Witness(folder / "handed")
    provider.replies = {}
    alice = await open_person(provider, folder, "alice", device="laptop", with_key=False)
    found = {one.outbox_id: one for one in await alice.outgoing.entries()}
    assert set(lines(folder / "accepted")) <= set(found)
    for outbox_id in lines(folder / "told"):
        assert "cancelled" in {one.state for one in found[outbox_id].recipients_state}
    for outbox_id in found if call_back else ():
        await alice.outgoing.cancel(outbox_id)
    await alice.sender.came_online()
    await alice.sender.process_due()
    entries = await alice.outgoing.entries()
    in_sent = await sent_copies(alice)
    await alice.close()
    handed = [line.split() for line in lines(folder / "handed")]
    by_recipients = {tuple(to): f"mail-{number}" for number, (_, to) in enumerate(letters())}
    counts = {"cancelled": 0, "sent": 0}
    left = {by_recipients[one.recipients] for one in entries if one.state == "sent"}
    assert sorted(in_sent) == sorted(left), "each mail that anybody got lies in Sent once"
    for entry in entries:
        assert entry.ended
        name = by_recipients[entry.recipients]
        for one in entry.recipients_state:
            counts[one.state] += 1
            ids = {by_id for mail, by_id, to in handed if (mail, to) == (name, one.address)}
            assert len(ids) == (one.state == "sent"), (name, one)
    return counts["cancelled"], counts["sent"]


async def test_whenever_the_process_dies_the_outbox_told_the_truth(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("forkserver")  # each child is clean, and none imports anew
    spawn.set_forkserver_preload(["tests.mail.outgoing.dying"])
    cancelled = sent = deaths = 0
    for last in range(0, 200, STEP):
        folder = tmp_path / str(last)
        folder.mkdir()
        child = spawn.Process(target=work, args=(folder, last, bool(last % 2)))
        child.start()
        child.join(30)
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        counts = await check(folder, call_back=deaths % 2 == 0)
        cancelled, sent = cancelled + counts[0], sent + counts[1]
        if child.exitcode == 0:
            # dave's two, one of them beside carol, and carol's beside eve
            assert counts[0] >= 2
            assert counts[1] >= 2
            break
        deaths += 1
    else:
        pytest.fail("the process never came to its end")
    assert deaths >= 5
    assert cancelled
    assert sent
    assert {EVE, CAROL, DAVE} >= {line.split()[2] for line in lines(folder / "handed")}
