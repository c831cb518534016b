"""SORT and THREAD answer as Dovecot's do, for random mail of which the RFC leaves no doubt."""

from __future__ import annotations

import random

import pytest

from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk
from tests.mail.porting.test_dovecot import Dovecot, dovecot

__all__ = ["dovecot"]  # a fixture

SUBJECTS = (
    "heron", "Re: heron", "[list] Heron", "Fwd: Re: owl", "owl (fwd)", "Éclair", "eclair", "",
    "=?utf-8?q?=C3=89clair?=", "[fwd: owl]", "re[2]: Owl", "_x", "Zebra", "zebra 2", "[a] [b]", "[only]",
)  # fmt: skip
NAMES = ("", "Ann", "ann", "=?utf-8?q?=C3=81gnes?=", '"Bob B."', "Zed")
KEYS = (
    "SUBJECT", "FROM", "TO", "CC", "DATE", "ARRIVAL", "SIZE", "REVERSE SUBJECT", "DISPLAYFROM", "DISPLAYTO",
    "REVERSE SIZE REVERSE DATE",
)  # fmt: skip
COMMANDS = (
    *(f"SORT ({keys}) UTF-8 ALL" for keys in KEYS),
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 10:40",
)


def messages(seed: int, count: int) -> list[bytes]:
    """Answers name all that came before, one of it, or only their parent; some fields are missing."""
    chance = random.Random(seed)
    chains: list[list[str]] = []
    out = []
    for number in range(count):
        references: list[str] = []
        if chains and chance.random() < 0.6:
            parent = chance.randrange(len(chains))
            references = [*chains[parent], f"<{parent}@x>"]
            if chance.random() < 0.2:
                references = references[:1] + references[2:]
        elif chance.random() < 0.2:
            references = [f"<missing{chance.randrange(4)}@x>"]
        chains.append(references)
        fields = [
            f"From: {chance.choice(NAMES)} <{chance.choice('abcXYZ')}{number % 3}@e.test>",
            f"To: {chance.choice(NAMES)} <{chance.choice('abcXYZ')}@e.test>, second@e.test",
            f"Cc: {chance.choice('mnop')}@e.test",
            f"Subject: {chance.choice(SUBJECTS)}",
            f"Message-ID: <{number}@x>",
            f"Date: {chance.randrange(1, 28):02} Nov 2026 10:{number:02}:00 +0{chance.randrange(9)}00",
        ]
        fields = [field for field in fields if chance.random() < 0.93]
        if references and chance.random() < 0.8:
            fields.append("References: " + " ".join(references))
        elif references:
            fields.append("In-Reply-To: " + references[-1])
        body = "x" * chance.randrange(20)
        out.append(("\r\n".join(fields) + f"\r\n\r\n{body}\r\n").encode())
    return out


@pytest.mark.parametrize("seed", [1])
async def test_the_order_is_that_of_dovecot(seed: int, dovecot: Dovecot) -> None:
    mail = messages(seed, 50)
    adding = [
        b'APPEND INBOX "%02d-Oct-2026 10:00:00 +0000" {%d+}\r\n%s'
        % (number % 28 + 1, len(raw), raw)
        for number, raw in enumerate(mail)
    ]
    commands = [command.encode() for command in COMMANDS]
    theirs = dovecot.say(*adding, b"SELECT INBOX", *commands)
    account = MemoryAccount()
    talk = await Talk(account).log_in()
    for command in adding:
        await talk.send(b"x " + command + b"\r\n")
    await talk.send(b"x SELECT INBOX\r\n")
    ours = b"".join([await talk.send(b"x " + command + b"\r\n") for command in commands])
    assert (await account.status(INBOX)).messages == len(mail)
    assert _answers(ours) == _answers(theirs)
    await talk.end()


def _answers(said: bytes) -> list[bytes]:
    found = [line for line in said.split(b"\r\n") if line.startswith((b"* SORT", b"* THREAD"))]
    assert len(found) == len(COMMANDS)
    return found
