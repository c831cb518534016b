"""Whom examples/auto_responder.py answers, rule by rule of RFC 3834."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from leap.mail.message import Message
from tests.examples.programs import EXAMPLES

ALICE, BOB = "alice@example.test", "bob@example.test"
PERSONAL = (
    f"Return-Path: <{BOB}>\nFrom: Bob <{BOB}>\nTo: Alice <{ALICE}>\nMessage-ID: <1@example.test>\n"
)


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("auto_responder", EXAMPLES / "auto_responder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mail(header: str) -> Message:
    return Message(f"{header}\n".replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    "more",
    [
        "",
        "Auto-Submitted: no\n",
        "Auto-Submitted: No (a person)\n",
        "Precedence: first-class\n",
        "Content-Type: multipart/mixed; boundary=report\n",
    ],
)
def test_a_person_is_answered(example: Any, more: str) -> None:
    assert example.whom_to_answer(mail(PERSONAL + more), ALICE) == BOB


@pytest.mark.parametrize(
    "more",
    [
        "Auto-Submitted: auto-replied\n",
        "auto-submitted: AUTO-GENERATED; owner-email=x\n",
        "Auto-Submitted:\n auto-notified\n",
        "List-Id: <birds.example.test>\n",
        "List-Unsubscribe: <mailto:leave@example.test>\n",
        "Precedence: Bulk\n",
        "Precedence: list\n",
        "X-Auto-Response-Suppress: All\n",
        "Content-Type: Multipart/Report; report-type=delivery-status; boundary=x\n",
    ],
)
def test_lists_and_machines_are_not_answered(example: Any, more: str) -> None:
    assert example.whom_to_answer(mail(PERSONAL + more), ALICE) is None


@pytest.mark.parametrize(
    "header",
    [
        PERSONAL.replace(f"<{BOB}>", "<>", 1),  # a bounce
        PERSONAL.replace(BOB, ALICE),  # own mail
        PERSONAL.replace(BOB, "alice+shop@example.test"),
        PERSONAL.replace(f"Alice <{ALICE}>", "birds@example.test"),  # a list without any mark
        PERSONAL.replace(f"Alice <{ALICE}>", "undisclosed-recipients:;"),  # a blind copy
        *(
            PERSONAL.replace(BOB, f"{machine}@example.test")
            for machine in ("MAILER-DAEMON", "birds-request", "owner-birds", "birds-bounces+a=b.test", "NoReply")
        ),
        PERSONAL.replace(BOB, "birds-owner@example.test", 1),  # only the envelope says it
        f"To: {ALICE}\n",
        f"From: {BOB}, carol@example.test\nTo: {ALICE}\n",
        "",
    ],
)  # fmt: skip
def test_there_is_nobody_to_answer(example: Any, header: str) -> None:
    assert example.whom_to_answer(mail(header), ALICE) is None


def test_the_envelope_says_whom_to_answer_and_a_tag_is_still_alice(example: Any) -> None:
    header = PERSONAL.replace(BOB, "bob+travel@example.test", 1).replace(
        ALICE, "Alice+x@Example.test"
    )
    assert example.whom_to_answer(mail(header), ALICE) == "bob+travel@example.test"
    assert example.whom_to_answer(mail(PERSONAL.partition("\n")[2]), ALICE) == BOB


def test_an_answer_is_answered_by_no_other_auto_responder(example: Any) -> None:
    made = Message(example.answer(mail(f"{PERSONAL}Subject: Lünch\n"), ALICE, BOB, "Away."))
    assert made.subject == "Auto: Lünch"
    assert made.references == ["<1@example.test>"]
    assert example.whom_to_answer(made, BOB) is None


def test_a_mail_whose_id_is_none_is_answered_without_naming_it(example: Any) -> None:
    odd = mail(PERSONAL.replace("<1@example.test>", "<1 1@example.test>") + "References: <0@x>\n")
    made = Message(example.answer(odd, ALICE, BOB, "Away."))
    assert (made.field("in-reply-to"), made.references) == (None, ["<0@x>"])
