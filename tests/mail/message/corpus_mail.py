"""The shared corpus as messages, mutations of them, and all that is asked of any message at once."""

from __future__ import annotations

import hashlib
import random
import re
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leap.mail.contract import INBOX, NewMessage, RowId
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.message import Message, scan, searchable
from leap.mail.message.quoting import reply
from tests.mail.message.test_envelope_and_structure import check_metadata
from tests.mail.message.test_scanner import check_invariants
from tests.mail.outgoing_fake import Outgoing

_BATCH = 100  # mails in one transaction
_SEPARATOR = re.compile(rb"^From [^\r\n]*\r?\n", re.MULTILINE)
_MARKS = [b"\r\n", b"\n", b"\r", b"\0", b'"', b"--", b"=?", b"(", b"\xff", b";", b"<", b"&#", b"<!--", b"begin 644 x\n",
          b"Content-Type: multipart/mixed; boundary=b\n", b"--b\n", b"Content-Transfer-Encoding: base64\n"]  # fmt: skip


def corpus_mails(corpus: Path) -> dict[str, bytes]:
    """The single messages by name."""
    lines = (corpus / "MANIFEST.tsv").read_text("utf-8").splitlines()[1:]
    names = [line.split("\t", 1)[0] for line in lines]
    return {
        name: (corpus / name).read_bytes()
        for name in names
        if not name.startswith(("keys/", "mbox/"))
    }


def mbox_mails(corpus: Path) -> dict[str, bytes]:
    """The messages of all mboxes, cut at every line that begins with "From ", be it a separator or not."""
    out = {}
    for path in sorted((corpus / "mbox").rglob("*")):
        if path.is_file() and path.name != "MANIFEST.tsv":
            name = path.relative_to(corpus)
            for number, raw in enumerate(_SEPARATOR.split(path.read_bytes())):
                if raw:
                    out[f"{name}#{number}"] = raw
    return out


def ask_everything(raw: bytes) -> Message:
    """Reads a message in every way there is: nothing may raise, and what IMAP serves is within its grammar."""
    check_invariants(raw, scan(raw))
    check_metadata(raw)
    message = Message(raw)
    found = searchable(message)
    "\n".join((found.from_, found.to, found.subject, found.attachments, found.body)).encode("utf-8")
    for _, part in message.attachments(nested=True):
        message.content(part)
    assert all(0 <= defect.offset <= len(raw) for defect in message.defects)
    reply(message, own=[])
    return message


def mutations(raws: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    """Mails with octets taken away, put in, exchanged, or copied from another mail."""
    while True:
        raw = bytearray(dice.choice(raws))
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(raw) + 1)
            match dice.randrange(4):
                case 0:
                    raw[at : at + dice.randint(1, 40)] = b""
                case 1:
                    raw[at:at] = dice.choice(_MARKS)
                case 2:
                    other = dice.choice(raws)
                    start = dice.randrange(len(other) + 1)
                    raw[at:at] = other[start : start + dice.randint(1, 300)]
                case _:
                    raw[at : at + 1] = bytes([dice.randrange(256)])
        yield bytes(raw)


async def kept_exactly(folder: Path, raws: Sequence[bytes]) -> int:
    """Stores mails in an account on Soledad, opens it anew, and compares the SHA-256 of what it gives back."""
    wanted: dict[RowId, bytes] = {}
    account = await _opened(folder)
    for start in range(0, len(raws), _BATCH):
        batch = raws[start : start + _BATCH]
        made = await account.append(INBOX, [NewMessage(raw=raw) for raw in batch])
        for one, raw in zip(made, batch, strict=True):
            wanted[one.row_id] = hashlib.sha256(raw).digest()
    await account.close()
    await account.store.close()
    account = await _opened(folder)
    for row_id, digest in wanted.items():
        assert hashlib.sha256(await account.read(row_id)).digest() == digest
    await account.close()
    await account.store.close()
    return len(wanted)


async def _opened(folder: Path) -> LocalAccount:
    store = await open_mail_store(folder / "store.db", bytes(32))
    return await LocalAccount.open(store, "alice@example.test", outbox=Outgoing())


@dataclass
class Report:
    slowest: float = 0.0  # CPU seconds for all questions about one mail
    octets: int = 0
    grown: int = 0  # octets of memory in use at the worst moment more than before


def torment(raws: Sequence[bytes], count: int, seed: int) -> Report:
    """Asks everything of `count` mutated mails."""
    report = Report()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = mutations(raws, random.Random(seed))
    for _ in range(count):
        raw = next(source)
        began = time.process_time()
        ask_everything(raw)
        report.slowest = max(report.slowest, time.process_time() - began)
        report.octets += len(raw)
    report.grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return report
