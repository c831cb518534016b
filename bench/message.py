"""The MIME structure of mail, IMAP's descriptions and all that is made at storage, beside the standard library on the
same bytes in the same run: the shared corpus, or generated mail.

The standard library has no IMAP descriptions; beside ours it does what a server would at least have to: parse, and read
the fields and types they are made of.
"""

from __future__ import annotations

import contextlib
import email
import email.utils
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.incoming import mail
from leap.mail.contract import SecurityStatus
from leap.mail.message import Message, scan, searchable
from leap.mail.model import header_record

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "corpus"
ROUNDS = 5
_LOCAL = SecurityStatus(encryption="local")
_LISTS = ("from", "sender", "reply-to", "to", "cc", "bcc")


def _described(raw: bytes) -> tuple[bytes, bytes]:
    message = Message(raw)
    return message.envelope, message.body_structure


def _described_by_them(raw: bytes) -> tuple[object, object]:
    message = email.message_from_bytes(raw)
    envelope: list[object] = [
        message.get(name) for name in ("date", "subject", "in-reply-to", "message-id")
    ]
    for name in _LISTS:
        with contextlib.suppress(RecursionError):  # one mail of the corpus has "a: a: a: ..."
            envelope.append(email.utils.getaddresses(map(str, message.get_all(name, []))))
    structure = [
        (part.get_content_type(), part.get_params(), part.get("content-id"), part.get("content-description"),
         part.get("content-transfer-encoding"), part.get("content-disposition"))
        for part in message.walk()
    ]  # fmt: skip
    return envelope, structure


def _stored(raw: bytes) -> object:
    return header_record(raw, _LOCAL), searchable(Message(raw))


def _seconds(work: Callable[[bytes], object], raws: list[bytes]) -> float:
    began = time.process_time()
    for raw in raws:
        work(raw)
    return time.process_time() - began


def run() -> dict[str, dict[str, Any]]:
    """MB/s of both and their ratio: medians of rounds in which one follows the other."""
    source, raws = "corpus", [path.read_bytes() for path in sorted(CORPUS.glob("*/*.eml"))]
    if not raws:
        source, raws = "generated", [mail(number, 10_000) for number in range(1_000)]
    megabytes = sum(map(len, raws)) / 1e6
    pairs: dict[str, tuple[Callable[[bytes], object], Callable[[bytes], object] | None]] = {
        "structure": (scan, email.message_from_bytes),
        "ENVELOPE and BODYSTRUCTURE": (_described, _described_by_them),
        "header record and texts for search": (_stored, None),
    }
    out: dict[str, dict[str, Any]] = {}
    for name, (mine, other) in pairs.items():
        rounds = [
            (_seconds(mine, raws), _seconds(other, raws) if other else None) for _ in range(ROUNDS)
        ]
        ours = statistics.median(each for each, _ in rounds)
        row: dict[str, Any] = {
            "ours MB/s": megabytes / ours,
            "ours ms a mail": ours / len(raws) * 1000,
        }
        if other:
            row["standard library MB/s"] = megabytes / statistics.median(t for _, t in rounds if t)
            row["times faster"] = statistics.median(t / each for each, t in rounds if t)
        out[f"{name}, {source}, {len(raws)} mails"] = row
    return out
