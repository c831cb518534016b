"""swaks against the provider's three doors: submission, MX, and the MX by LMTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.smtp import SmtpServer, serve_smtp
from leap.provider.mx import MxHandler, mx_config
from leap.provider.queue import QueueStorage, Routes
from leap.provider.submission import SubmissionHandler, submission_config
from leap.soledad.sqlite import Database
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.swaks import swaks
from tests.provider.mail_drop import MemoryMailDrop

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@other.test"


@pytest.fixture
async def drop(tmp_path: Path) -> AsyncIterator[MemoryMailDrop]:
    db = await Database.open(tmp_path / "provider.db", key=None)
    yield MemoryMailDrop(db, ALICE, BOB)
    await db.close()


@pytest.fixture
async def submission(drop: MemoryMailDrop) -> AsyncIterator[SmtpServer]:
    queue = await QueueStorage.open(drop.db)
    routes = Routes({"other.test": ("127.0.0.1", 1)})
    server = await serve_smtp(
        lambda: SubmissionHandler(
            drop, queue, domain="example.test", hostname="mx.example.test", routes=routes
        ),
        submission_config("mx.example.test", contexts()[0]),
    )
    yield server
    await server.close()


def as_alice(drop: MemoryMailDrop, mechanism: str = "PLAIN") -> list[str]:
    login = ["--auth", mechanism, "--auth-user", ALICE, "--auth-password", drop.token(ALICE)]
    return ["--from", ALICE, "-tls", *login]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "ANY"])
async def test_a_user_submits(submission: SmtpServer, drop: MemoryMailDrop, mechanism: str) -> None:
    code, said = await swaks(
        submission, *as_alice(drop, mechanism), "--to", f"{BOB},{CAROL}", "--body", ".\\n..dot"
    )
    assert code == 0, said
    (raw,) = drop.opened(BOB)
    assert b"\r\n.\r\n..dot\r\n" in raw


async def test_nothing_is_submitted_without_tls_or_with_a_wrong_password(
    submission: SmtpServer, drop: MemoryMailDrop
) -> None:
    code, said = await swaks(submission, "--from", ALICE, "--to", BOB)
    assert (code, "530 5.7.0" in said) == (23, True), said
    wrong = ["-tls", "--auth", "PLAIN", "--auth-user", BOB, "--auth-password", drop.token(ALICE)]
    code, said = await swaks(submission, "--from", BOB, "--to", ALICE, *wrong)
    assert (code, "535 5.7.8" in said) == (28, True), said
    assert drop.inbox == []


@pytest.mark.parametrize("how", [[], ["-tls"], ["-tls", "--pipeline"]])
async def test_a_stranger_reaches_users_and_nobody_else(
    drop: MemoryMailDrop, how: list[str]
) -> None:
    server = await serve_smtp(
        lambda: MxHandler(drop, domain="example.test", hostname="mx.example.test"),
        mx_config("mx.example.test", contexts()[0]),
    )
    code, said = await swaks(server, "--from", "x@other.test", "--to", f"{BOB},{CAROL}", *how)
    await server.close()
    assert code == 0, said
    assert "550 5.7.1 This server takes mail for its own users only" in said
    assert len(drop.opened(BOB)) == 1


@pytest.mark.parametrize("path", [True, False])
async def test_lmtp_answers_for_each_recipient(
    drop: MemoryMailDrop, tmp_path: Path, path: bool
) -> None:
    server = await serve_smtp(
        lambda: MxHandler(drop, domain="example.test", hostname="mx.example.test"),
        mx_config("mx.example.test", None, lmtp=True),
        path=tmp_path / "lmtp.sock" if path else None,
    )
    everyone = f"{ALICE},nobody@example.test,{BOB}"
    code, said = await swaks(server, "--protocol", "LMTP", "--from", "x@y.test", "--to", everyone)
    await server.close()
    assert code == 0, said
    assert said.count("250 2.0.0 Mail sealed and stored.") == 2
    assert [len(drop.opened(one)) for one in (ALICE, BOB)] == [1, 1]
