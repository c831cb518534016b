"""Thunderbird from its set-up to new mail: `make test-thunderbird` (its name keeps it out of `make test`).

Everything is looked at twice: in Thunderbird, and on the server by another connection.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import needs_program
from tests.scenarios.world import Device, append, fetched, world
from tests.thunderbird.marionette import Thunderbird

BOB = "bob@example.test"
MAILS = 100
PATIENCE = 30.0
PREFERENCES: dict[str, Any] = {
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mailnews.start_page.enabled": False,
    "mail.rights.version": 1,
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "extensions.update.enabled": False,
    "calendar.timezone.useSystemTimezone": True,
    "mail.e2ee.notify_on_auto_enable": False,
    "mail.biff.play_sound": False,
}


def _mail(number: int) -> bytes:
    date = email.utils.formatdate(1_793_000_000 + 60 * number)
    return (
        f"From: Bob <{BOB}>\r\nTo: Alice <alice@example.test>\r\nSubject: mail {number}\r\nDate: {date}\r\n"
        f"Message-ID: <{number}@example.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"Zeile {number}: Grüße, und ein Punkt:\r\n.\r\n" + "mehr Text\r\n" * (number % 7)
    ).encode()


@dataclass
class Desk:
    """A person's machine: the daemon, and Thunderbird set up with the account."""

    device: Device
    person: str
    thunderbird: Thunderbird
    found: dict[str, Any]

    @property
    def address(self) -> str:
        return f"{self.person}@example.test"

    def run(self, action: str, *arguments: Any) -> Any:
        return self.thunderbird.run(action, self.address, *arguments)

    def headers(self, path: str = "INBOX") -> dict[str, dict[str, Any]]:
        return {header["subject"]: header for header in self.run("headers", path)}

    def served(self, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """The flags of each message by its subject, asked by another connection."""
        found = {}
        with self.device.imap(self.person) as imap:
            assert imap.select(f'"{mailbox}"', readonly=True)[0] == "OK"
            _, data = imap.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for part in data:
                if isinstance(part, tuple):
                    flags = part[0].partition(b"FLAGS (")[2].partition(b")")[0].decode().split()
                    subject = part[1].decode().partition("Subject: ")[2].strip()
                    found[subject] = {flag for flag in flags if flag != "\\Recent"}
        return found

    def octets(self, subject: str, mailbox: str = "INBOX") -> bytes:
        with self.device.imap(self.person) as imap:
            imap.select(f'"{mailbox}"', readonly=True)
            _, found = imap.uid("SEARCH", "SUBJECT", f'"{subject}"')
            _, data = imap.uid("FETCH", found[0].split()[0].decode(), "BODY.PEEK[]")
            return next(iter(fetched(data).values()))


def soon(condition: Callable[[], Any]) -> Any:
    """What `condition` gives once it is true; the program acts in its own time."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {PATIENCE:.0f} s"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with world(tmp_path_factory.mktemp("laptop")) as made:
        device = made.device("laptop")
        for person in ("alice", "carol", "bob"):
            device.create(person)
        yield device


@pytest.fixture(
    scope="module",
    params=[("alice", False), ("carol", True)],
    ids=["as installed", "with CONDSTORE"],
)
def desk(
    laptop: Device, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Desk]:
    program = needs_program("thunderbird")
    person, condstore = request.param
    with laptop.imap(person) as imap:
        for number in range(MAILS):
            assert append(imap, "INBOX", _mail(number))[0] == "OK"
    settings = laptop.ask("mail-settings", address=f"{person}@example.test")
    preferences = {
        **PREFERENCES,
        "mailnews.auto_config_url": settings["autoconfig"].partition("/mail/")[0] + "/v1.1/",
        "mail.server.default.use_condstore": condstore,
    }
    folder = tmp_path_factory.mktemp("thunderbird")
    with Thunderbird(program, folder, preferences) as thunderbird:
        login = settings["imap"]
        found = thunderbird.run("setUp", person.title(), login["user"], login["password"])
        desk = Desk(laptop, person, thunderbird, found)
        desk.run("synchronise", "INBOX")  # the folders are listed by that too
        yield desk


def test_it_sets_itself_up_from_what_bitmask_serves(desk: Desk) -> None:
    login = desk.device.logins[desk.person]
    for kind, protocol in (("incoming", "imap"), ("outgoing", "smtp")):
        server = desk.found[kind]
        assert (server["host"], server["port"]) == (
            login[protocol]["host"],
            login[protocol]["port"],
        )
        assert server["user"] == desk.address
    assert desk.thunderbird.run("configurationFor", "elsewhere.test") != "found"


def test_it_shows_the_folders_and_the_headers_of_all_mail(desk: Desk) -> None:
    assert {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"} <= set(desk.run("folders"))
    headers = soon(lambda: len(found := desk.headers()) == MAILS and found)
    assert set(headers) == {f"mail {n}" for n in range(MAILS)}
    assert not any(header["read"] for header in headers.values())


def test_it_downloads_all_mail_and_holds_the_octets_served(desk: Desk) -> None:
    desk.run("downloadAll", "INBOX")
    soon(lambda: all(header["offline"] for header in desk.headers().values()))
    fetches = [line for line in desk.thunderbird.sent() if "BODY.PEEK[]" in line]
    for number in (0, 41, 99):
        text = desk.run("source", "INBOX", f"mail {number}").encode("latin-1")
        lines = [line for line in text.splitlines() if not line.startswith(b"X-Mozilla-")]
        served = desk.octets(f"mail {number}")
        assert lines == served.splitlines()
        assert _mail(number).partition(b"\r\n\r\n")[2] in served
    assert [line for line in desk.thunderbird.sent() if "BODY.PEEK[]" in line] == fetches


def test_reading_flagging_and_tagging_reach_the_server(desk: Desk) -> None:
    desk.run("markRead", "INBOX", "mail 1", True)
    desk.run("flag", "INBOX", "mail 2")
    desk.run("tag", "INBOX", "mail 3", "$label1")
    wanted = {"mail 1": {"\\Seen"}, "mail 2": {"\\Flagged"}, "mail 3": {"$label1"}}
    soon(lambda: wanted.items() <= desk.served().items())
    assert desk.headers()["mail 3"]["keywords"] == "$label1"
    desk.run("markRead", "INBOX", "mail 1", False)
    soon(lambda: desk.served()["mail 1"] == set())


def test_flags_set_elsewhere_are_shown(desk: Desk) -> None:
    with desk.device.imap(desk.person) as imap:
        imap.select("INBOX")
        (found,) = imap.uid("SEARCH", "SUBJECT", '"mail 50"')[1]
        assert imap.uid("STORE", found.decode(), "+FLAGS", "(\\Seen \\Flagged $label2)")[0] == "OK"
    header = soon(lambda: (h := desk.headers()["mail 50"])["flagged"] and h["read"] and h)
    assert "$label2" in header["keywords"]


def test_copies_moves_and_deletions_reach_the_server(desk: Desk) -> None:
    desk.run("makeFolder", "Projekt Größe")
    name = "Projekt Gr&APYA3w-e"
    desk.run("transfer", "INBOX", "mail 10", "Projekt Größe", False)
    soon(lambda: set(desk.served(name)) == {"mail 10"})
    desk.run("transfer", "INBOX", "mail 11", "Projekt Größe", True)
    soon(lambda: set(desk.served(name)) == {"mail 10", "mail 11"})
    desk.run("remove", "INBOX", "mail 12", False)
    soon(lambda: "mail 12" in desk.served("Trash"))
    left = desk.served()
    assert "mail 10" in left
    assert not {"mail 11", "mail 12"} & set(left)
    desk.run("synchronise", "Trash")
    desk.run("remove", "Trash", "mail 12", True)
    soon(lambda: "mail 12" not in desk.headers("Trash"))
    desk.run("compact", "Trash")
    soon(lambda: "mail 12" not in desk.served("Trash"))
    desk.run("synchronise", "Projekt Größe")
    soon(lambda: set(desk.headers("Projekt Größe")) == {"mail 10", "mail 11"})
    assert desk.octets("mail 11", name).endswith(_mail(11).partition(b"\r\n\r\n")[2])


def test_what_it_sends_arrives_encrypted_and_a_copy_is_kept(desk: Desk) -> None:
    subject = f"from {desk.person}'s Thunderbird"
    desk.run("compose", BOB, subject, "Hello Bob,\nthe oak is old.\n")
    mark = f"Subject: {subject}\r\n".encode()
    arrived = soon(
        lambda: next((raw for raw in desk.device.messages("bob").values() if mark in raw), None)
    )
    head, _, body = arrived.partition(b"\r\n\r\n")
    assert b"X-Leap-Encryption: decrypted" in head
    assert b"X-Leap-Signature: valid" in head
    assert b"the oak is old." in body
    soon(lambda: subject in desk.served("Sent"))


def test_new_mail_is_shown_by_idle(desk: Desk) -> None:
    text = f"From: {BOB}\r\nTo: {desk.address}\r\nSubject: unasked\r\n\r\nHere it is.\r\n"
    with desk.device.smtp("bob") as smtp:
        smtp.sendmail(BOB, [desk.address], text)
    soon(lambda: "unasked" in desk.headers())
    assert any("IDLE" in line for line in desk.thunderbird.sent())


def test_the_server_refused_nothing(desk: Desk) -> None:
    log = desk.thunderbird.imap_log.with_suffix(".log.moz_log").read_text(errors="replace")
    refused = [line for line in log.splitlines() if " BAD " in line or " NO [" in line]
    assert refused == []
