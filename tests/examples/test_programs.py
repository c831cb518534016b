"""The mail programs of examples/ do what they say, with two people's real accounts at a daemon and its provider."""

from __future__ import annotations

import asyncio
import hashlib
import json
import mailbox
import shlex
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leap.mail import Account
from leap.mail.message import Message as View
from leap.mail.message.compose import field
from leap.mail.message.new_message import new_message
from tests.examples.programs import PATIENCE, Running, on_terminal, running
from tests.scenarios.world import Device, World, world

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("examples")) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        yield made


@pytest.fixture
def device(made: World) -> Device:
    return made.devices[0]


@pytest.fixture
async def alice(device: Device) -> AsyncIterator[Account]:
    async with await Account.open(ALICE, home=device.home.path) as account:
        yield account


@pytest.fixture
async def bob(device: Device) -> AsyncIterator[Account]:
    async with await Account.open(BOB, home=device.home.path) as account:
        yield account


def mail(subject: str, text: str = "Hello.", *, head: bytes = b"", to: str = ALICE) -> bytes:
    return head + new_message(
        sender=("Bob", BOB), to=[("", to)], subject=subject, text=text, seconds=1_800_000_000
    )


async def subjects(account: Account, name: str = "INBOX") -> list[str]:
    return [await one.subject() for one in await (await account.collection(name)).window(0, 100)]


async def arrived(account: Account, subject: str) -> None:
    """Returns once a mail of this subject lies in the INBOX."""
    changes = account.changes()
    while subject not in await subjects(account):
        await anext(changes)


async def test_the_notifier_tells_of_a_mail_that_comes(
    device: Device, bob: Account, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    notify = tmp_path / "notify-send"
    notify.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(told))}\n')
    notify.chmod(0o700)
    path = f"{tmp_path}:/usr/bin:/bin"
    home = device.home.path
    arguments = (ALICE, "--home", home, "--desktop", "--count", "1")
    async with running("notifier", *arguments, PATH=path) as notifier:
        assert (await notifier.line()).startswith(f"{ALICE}: ")
        await bob.send(mail("Lunch at <b>noon</b>?"), [ALICE])
        assert (await notifier.line()).endswith(
            "  Bob <bob@example.test>: 🔒 Lunch at <b>noon</b>?"
        )
        assert await notifier.end() == (0, "")
    title, text = told.read_text().splitlines()[-2:]
    assert title == "Bob <bob@example.test>"
    assert text == "🔒 Lunch at &lt;b&gt;noon&lt;/b&gt;?"


async def archived(device: Device, folder: Path) -> str:
    async with running("archiver", ALICE, folder, "--home", device.home.path) as archiver:
        code, said = await archiver.end()
    assert code == 0, said
    return said


def digests(folder: Path) -> list[str]:
    """Of every file in the archive's folders."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


async def test_the_archiver_keeps_every_mail_once_byte_for_byte(
    device: Device, alice: Account, tmp_path: Path
) -> None:
    work = await alice.add_mailbox("Wörk/2026")
    raws = [b"Subject: %d\r\n\r\nbare\rCR, bare\nLF, \0 and \xff\r\n" % n for n in range(5)]
    collection = await alice.collection(work.mailbox_id)
    for raw in raws:
        await collection.add(raw, flags=["\\Seen", "\\Flagged"], internal_date=1_700_000_000)
    rows = await collection.rows()
    await collection.copy_to([row.uid for row in rows], await alice.collection("INBOX"))
    folder = tmp_path / "archive"

    assert "complete" in await archived(device, folder)
    kept = digests(folder)
    assert {hashlib.sha256(raw).hexdigest() for raw in raws} <= set(kept)
    assert len(kept) == len(set(kept))  # of five mails in two mailboxes each, one file
    places = {folder, *(path for path in folder.glob(".*") if path.is_dir())}
    theirs = [one for place in places for one in mailbox.Maildir(place, create=False, factory=None)]
    assert len(theirs) == len(kept)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sum(set(one.get_flags()) == {"F", "S"} for one in theirs) == 5

    # nothing is written anew, though one was read and one moved meanwhile
    one, other, *_ = sorted((folder / "cur").iterdir())
    one.rename(one.with_name(one.name.rpartition(",")[0] + ",RS"))
    shutil.move(other, folder / "new" / other.name)
    await collection.move_to([rows[0].uid], await alice.collection("\\Archive"))
    assert await archived(device, folder) == "complete\n"
    assert digests(folder) == kept

    # what an interruption left: a part in tmp, and files that are missing
    for path in list((folder / "cur").iterdir())[:2]:
        shutil.move(path, folder / "tmp" / path.name.partition(":")[0])
    assert "2 added" in await archived(device, folder)
    assert digests(folder) == kept


async def test_the_archiver_follows(
    device: Device, alice: Account, bob: Account, tmp_path: Path
) -> None:
    folder, home = tmp_path / "archive", device.home.path
    async with running("archiver", ALICE, folder, "--follow", "--home", home) as archiver:
        while await archiver.line() != "complete":
            pass
        before = len(digests(folder))
        await bob.send(mail("for the archive"), [ALICE])
        assert await archiver.line() == "INBOX: 1 added"
    assert len(digests(folder)) == before + 1


async def test_the_auto_responder_answers_a_person_once(
    device: Device, alice: Account, bob: Account, tmp_path: Path
) -> None:
    state, home = tmp_path / "answered.json", device.home.path
    arguments = ("auto_responder", ALICE, state, "--text", "Back on Monday.", "--home", home)
    async with running(*arguments) as responder:
        assert await responder.line() == "waiting"
        await bob.send(mail("list post", head=field("List-Id", "<x.example.test>")), [ALICE])
        await bob.send(mail("robot", head=field("Auto-Submitted", "auto-generated")), [ALICE])
        await bob.send(mail("Question"), [ALICE])
        assert await responder.line() == f"answered {BOB}"
    await arrived(bob, "Auto: Question")
    await bob.send(mail("Question again"), [ALICE])  # while it does not run
    for subject in ("list post", "robot", "Question again"):
        await arrived(alice, subject)
    async with running(*arguments) as responder:
        assert await responder.line() == "waiting"
        kept = json.loads(state.read_text())
        assert list(kept["answered"]) == [BOB]
        assert kept["next"] == (await (await alice.collection("INBOX")).status()).uid_next
    # a week later
    state.write_text(json.dumps(kept | {"answered": {BOB: kept["answered"][BOB] - 7 * 86_400}}))
    await bob.send(mail("Question a week later"), [ALICE])
    async with running(*arguments) as responder:
        assert await responder.line() == f"answered {BOB}"
    await arrived(bob, "Auto: Question a week later")

    inbox = await bob.collection("INBOX")
    answers = [View(await one.raw()) for one in await inbox.window(0, 10)]
    assert [one.subject for one in answers] == ["Auto: Question a week later", "Auto: Question"]
    for one in answers:
        marked = one.field("auto-submitted")
        assert marked is not None
        assert marked.text == "auto-replied"
        assert one.references
        assert "Back on Monday." in one.body_text


async def test_the_reader_is_used_with_keys(
    device: Device, alice: Account, bob: Account, tmp_path: Path
) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import sys, pathlib\npath = pathlib.Path(sys.argv[1])\n"
        "path.write_text('At noon, then.\\n' + path.read_text())\n"
    )
    made = await alice.add_mailbox("Reading")
    reading = await alice.collection(made.mailbox_id)
    long = "\n".join(f"Line {number}." for number in range(60))
    for subject, text in (
        ("First heron", "a"),
        ("Long one", long),
        ("Lunch?", "When? \x1b[2J\x07"),
    ):
        await reading.add(mail(subject, text), internal_date=1_800_000_000)

    async with on_terminal(
        "reader", ALICE, "--mailbox", "Reading", "--home", device.home.path,
        EDITOR=shlex.join([sys.executable, str(editor)]),
    ) as terminal:  # fmt: skip
        screen = await terminal.shows("*", "First heron", "Long one", "Lunch?", BOB)
        head, first, *_ = screen.split("\r\n")
        assert head == f"{ALICE}  Reading"
        assert first.split() == ["*", "15", "Jan", "08:00", "Bob", f"<{BOB}>", "Lunch?"]
        terminal.press("\x1b[Bf")  # down, flag
        await terminal.shows("*!", "Long one")
        terminal.press("\r")
        await terminal.shows("Subject: Long one", "Line 1.", "put here by you", absent="Line 59.")
        terminal.press("  ")
        await terminal.shows("Line 59.", absent="Line 1.")
        terminal.press("qk\r")
        screen = await terminal.shows("Subject: Lunch?", "When?")
        assert "\x07" not in screen
        terminal.press("r")
        await terminal.shows("Send to bob@example.test? [y/n]")
        terminal.press("y\r")
        await terminal.shows("Sent to bob@example.test.")
        terminal.press("q/hero\x7fon\r")
        await terminal.shows("/heron", "First heron", absent="Lunch?")
        terminal.press("\x1b")
        await terminal.shows("Reading", "Lunch?")
        await reading.add(mail("Came meanwhile"))
        await terminal.shows("Came meanwhile")
        terminal.press("q")
        async with asyncio.timeout(PATIENCE):
            assert await terminal.process.wait() == 0

    flags = {await one.subject(): set(one.flags) for one in await reading.window(0, 10)}
    assert flags == {
        "First heron": set(),
        "Long one": {"\\Seen", "\\Flagged"},
        "Lunch?": {"\\Seen", "\\Answered"},
        "Came meanwhile": set(),
    }
    assert "Re: Lunch?" in await subjects(alice, "\\Sent")
    await arrived(bob, "Re: Lunch?")
    [answer] = [
        one
        for one in await (await bob.collection("INBOX")).window()
        if await one.subject() == "Re: Lunch?"
    ]
    assert (await answer.text()).startswith("At noon, then.\n")
    assert "> When?" in await answer.text()


async def test_a_program_says_what_is_wrong(tmp_path: Path) -> None:
    programs: list[tuple[str | Path, ...]] = [
        ("notifier", ALICE),
        ("archiver", ALICE, tmp_path / "archive"),
        ("auto_responder", ALICE, tmp_path / "state", "--text", "x"),
    ]
    for name, *arguments in programs:
        async with running(str(name), *arguments, "--home", tmp_path) as program:
            assert isinstance(program, Running)
            code, said = await program.end()
        assert code == 1
        assert said == (
            f"{name}: {ALICE} is not set up here; use `bitmask user create` or `bitmask user auth`.\n"
        )
