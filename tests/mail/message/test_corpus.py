"""The shared corpus of real and broken mail: never an exception, and the standard library's parts."""

from __future__ import annotations

import email
import email.message
import random
from pathlib import Path

import pytest

from leap.mail.message import Message, scan
from tests.mail.message.test_envelope_and_structure import check_metadata
from tests.mail.message.test_scanner import check_invariants

MARKS = [b"\r\n", b"\n", b"\r", b"\0", b'"', b"--", b"=?", b"(", b"\xff", b";", b"<"]

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def mails(corpus: Path) -> dict[str, bytes]:
    lines = (corpus / "MANIFEST.tsv").read_text("utf-8").splitlines()[1:]
    names = [line.split("\t", 1)[0] for line in lines]
    return {
        name: (corpus / name).read_bytes()
        for name in names
        if not name.startswith(("keys/", "mbox/"))
    }


def standard_leaves(message: email.message.Message) -> list[bytes] | None:
    """The leaf bodies as the standard library cuts them; None where it reports a defect or goes its own way."""
    out: list[bytes] = []
    for part in message.walk():
        kind = part.get_content_type()
        if part.defects or (kind.startswith("message/") and kind != "message/rfc822"):
            return None  # it takes delivery-status and others for containers
        if part.is_multipart():
            continue
        payload = vars(part)["_payload"]  # get_payload() would decode 8-bit text
        out.append(payload.encode("ascii", "surrogateescape") if isinstance(payload, str) else b"")
    return out


def test_every_mail_is_described_within_the_grammar(mails: dict[str, bytes]) -> None:
    assert len(mails) > 3000
    for raw in mails.values():
        check_invariants(raw, scan(raw))
        check_metadata(raw)


def test_parts_agree_with_the_standard_library(mails: dict[str, bytes]) -> None:
    compared, parts, other = 0, 0, []
    for name, raw in mails.items():
        expected = standard_leaves(email.message_from_bytes(raw))
        if expected is None:
            continue
        root = scan(raw)
        if any(defect.kind == "too-deep" for part in root.walk() for defect in part.defects):
            continue  # one fixture nests 101 deep
        found = [raw[part.body_start : part.end] for part in root.walk() if not part.children]
        compared += 1
        parts += len(found)
        if found != expected:
            other.append(name)
    print(f"compared {compared} of {len(mails)} mails, {parts} parts; {len(other)} differ: {other}")
    assert other == []
    assert compared > 2700


def test_every_mail_is_read_and_searched(mails: dict[str, bytes]) -> None:
    seen_text = 0
    for raw in mails.values():
        message = Message(raw)
        seen_text += bool(message.body_text.strip())
        list(message.attachments())
        assert not message.contains("\x00 no mail says this", headers=True)
    assert seen_text > 2500


def test_mutated_mail_is_described_within_the_grammar(mails: dict[str, bytes]) -> None:
    dice = random.Random(20261122)
    raws = [raw for raw in mails.values() if len(raw) < 6000]
    for _ in range(2000):
        raw = bytearray(dice.choice(raws))
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(raw) + 1)
            match dice.randrange(4):
                case 0:
                    raw[at : at + dice.randint(1, 40)] = b""
                case 1:
                    raw[at:at] = dice.choice(
                        [
                            b"\r\n",
                            b"\n",
                            b"\r",
                            b"\0",
                            b'"',
                            b"--",
                            b"=?",
                            b"(",
                            b"\xff",
                            b";",
                            b"<",
                        ]
                    )
                case 2:
                    other = dice.choice(raws)
                    start = dice.randrange(len(other) + 1)
                    raw[at:at] = other[start : start + dice.randint(1, 300)]
                case _:
                    raw[at : at + 1] = bytes([dice.randrange(256)])
        check_invariants(bytes(raw), scan(bytes(raw)))
        check_metadata(bytes(raw))
