"""A mail program asks for reports by DSN: each way a mail can go is told, once, in the person's INBOX."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scenarios.test_two_providers import free_port
from tests.scenarios.world import world


def letter(to: str) -> str:
    return f"From: alice@example.test\r\nTo: {to}\r\nSubject: for {to}\r\n\r\nx\r\n"


def test_what_became_of_a_mail_is_told_to_who_asked(tmp_path: Path) -> None:
    port = free_port()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        world(tmp_path / "two", "other.test", ("--mx-port", str(port))) as there,
        world(tmp_path / "one", arguments=("--route", f"other.test=127.0.0.1:{port}")) as here,
    ):
        alices, bobs = here.device("laptop"), there.device("laptop")
        alices.create("alice")
        alices.create("carol")
        bobs.create("bob")
        with alices.smtp("alice") as smtp:
            smtp.ehlo()
            assert smtp.has_extn("dsn")
            for to, asked in (
                ("bob@other.test", "NOTIFY=SUCCESS"),  # his MX does not confirm
                ("carol@example.test", "NOTIFY=SUCCESS"),
                ("nobody@other.test", "NOTIFY=FAILURE"),
                ("no-one@other.test", "NOTIFY=NEVER"),
            ):
                smtp.sendmail("alice@example.test", [to], letter(to), [f"ENVID=of-{to}"], [asked])
        found = alices.wait_for("alice", 3).values()
        told = {}
        for report in found:
            action = re.search(rb"\r\nAction: (\w+)\r\n", report)
            of = re.search(rb"\r\nOriginal-Envelope-Id: of-(\S+)\r\n", report)
            assert action is not None
            assert of is not None
            told[of[1].decode()] = action[1].decode()
        assert told == {
            "bob@other.test": "relayed",
            "carol@example.test": "delivered",
            "nobody@other.test": "failed",
        }
        bobs.wait_for("bob", 1)
        assert len(alices.messages("alice")) == 3
