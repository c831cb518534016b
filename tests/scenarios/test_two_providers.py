"""Mail between two providers: by the route table, sealed on arrival, and reported when it cannot be delivered."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.scenarios.world import World, world


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_mail_crosses_to_another_provider_and_a_refusal_is_reported(tmp_path: Path) -> None:
    port = free_port()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        world(tmp_path / "two", "other.test", ("--mx-port", str(port))) as there,
        world(tmp_path / "one", arguments=("--route", f"other.test=127.0.0.1:{port}")) as here,
    ):
        alices, bobs = here.device("laptop"), there.device("laptop")
        alices.create("alice")
        bobs.create("bob")
        with alices.smtp("alice") as smtp:
            text = (
                "From: alice@example.test\r\nTo: bob@other.test\r\nSubject: far\r\n\r\nAcross.\r\n"
            )
            smtp.sendmail("alice@example.test", ["bob@other.test"], text)
            lost = text.replace("bob@", "nobody@")
            smtp.sendmail("alice@example.test", ["nobody@other.test"], lost)
        served = next(iter(bobs.wait_for("bob", 1).values()))
        assert served.endswith(b"\r\n\r\nAcross.\r\n")
        report = next(iter(alices.wait_for("alice", 1).values()))
        assert b"multipart/report" in report
        assert b"nobody@other.test" in report
        assert _never(there, b"Across.")
        assert _never(here, b"Across.")


def _never(made: World, text: bytes) -> bool:
    return not any(
        text in path.read_bytes()
        for path in (made.folder / "provider").rglob("*")
        if path.is_file()
    )
