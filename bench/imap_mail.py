"""Mail for the IMAP bench: the same octets from the same seed, 30 kB on average, as a full mailbox looks.

Half are plain text, a third have an HTML alternative, the rest an attachment in base64; subjects repeat as
conversations do. `lanternfish` is in five messages and `invoice` in about a sixth.
"""

from __future__ import annotations

import base64
import itertools
import random
import time
from collections.abc import Iterator

RARE, COMMON, ABSENT = "lanternfish", "invoice", "qqnowhereqq"
FIRST_DAY = 1_700_000_000
_FIRST = ("Ann", "Bela", "Chen", "Dora", "Emre", "Farid", "Greta", "Hiro", "Ines", "Jorge")
_LAST = ("Tanaka", "Moreau", "Okoye", "Lindqvist", "Petrov", "Álvarez", "Brandt", "Kaya", "Nowak")
_SYLLABLES = ("ra", "ten", "mo", "lis", "ka", "dor", "ve", "sin", "pu", "gal", "the", "an", "ing")


def _vocabulary() -> tuple[list[str], list[float]]:
    chance = random.Random(11)
    words: dict[str, None] = dict.fromkeys(("meeting", "harbour", "budget", "größe"))
    while len(words) < 20_000:
        if len(words) == 2_500:
            words[COMMON] = None
        words["".join(chance.choices(_SYLLABLES, k=chance.choice((1, 2, 2, 3, 4))))] = None
    chosen = list(words)
    return chosen, list(itertools.accumulate(1 / (rank + 40) for rank in range(len(chosen))))


def mails(count: int, seed: int = 30, octets: int = 30_500) -> Iterator[bytes]:
    """So many messages with CRLF line ends, of so many octets on average."""
    chance = random.Random(seed)
    words, weights = _vocabulary()
    rare = set(random.Random(seed + 1).sample(range(count), min(5, count)))
    subjects = [
        " ".join(chance.choices(words, cum_weights=weights, k=5)) for _ in range(count // 4 + 1)
    ]
    for number in range(count):
        size = int(octets * min(8.0, chance.lognormvariate(-0.66, 0.8)))
        body = _text(chance, words, weights, min(size, 24_000), RARE if number in rare else "")
        yield _mail(chance, number, chance.choice(subjects), body, size)


def _text(
    chance: random.Random, words: list[str], weights: list[float], octets: int, extra: str
) -> str:
    chosen = chance.choices(words, cum_weights=weights, k=max(8, octets // 7))
    if extra:
        chosen.insert(3, extra)
    return "\r\n".join(" ".join(chosen[at : at + 11]) for at in range(0, len(chosen), 11))


def _mail(chance: random.Random, number: int, subject: str, text: str, size: int) -> bytes:
    sender = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
    shown = f"=?utf-8?B?{base64.b64encode(sender.encode()).decode()}?=" if "Á" in sender else sender
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(FIRST_DAY + number * 977))
    signature = base64.b64encode(chance.randbytes(129)).decode()
    header = [
        f"Return-Path: <{sender.split()[0].lower()}@example.test>",
        f"Received: from mx.example.test ([192.0.2.7]) by mail.example.test with ESMTPS id {number:08x};",
        f"\t{date}",
        f"DKIM-Signature: v=1; a=rsa-sha256; d=example.test; s=k1; b={signature}",
        f"From: {shown} <{sender.split()[0].lower()}@example.test>",
        "To: Alice <alice@example.test>, team@lists.example.test",
        f"Subject: {'Re: ' if chance.random() < 0.7 else ''}{subject}",
        f"Date: {date}",
        f"Message-ID: <{number}.bench@example.test>",
        "MIME-Version: 1.0",
    ]
    if chance.random() < 0.7 and number:
        header.append(f"References: <{chance.randrange(number)}.bench@example.test>")
    kind, edge = chance.random(), f"=_{number:x}_edge"
    if kind < 0.55:
        lines = [
            *header,
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            text,
        ]
    elif kind < 0.88:
        html = f"<html><body><p>{text.replace(chr(13) + chr(10), '</p>' + chr(13) + chr(10) + '<p>')}</p></body></html>"
        lines = [
            *header, f'Content-Type: multipart/alternative; boundary="{edge}"', "", f"--{edge}",
            "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", text[: len(text) // 2],
            f"--{edge}", "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", html,
            f"--{edge}--",
        ]  # fmt: skip
    else:
        file = (
            base64.encodebytes(chance.randbytes(max(600, size * 2))).decode().replace("\n", "\r\n")
        )
        lines = [
            *header, f'Content-Type: multipart/mixed; boundary="{edge}"', "", f"--{edge}",
            "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", text[:4000],
            f"--{edge}", "Content-Type: application/pdf", "Content-Transfer-Encoding: base64",
            f'Content-Disposition: attachment; filename="paper {number}.pdf"', "", f"{file}--{edge}--",
        ]  # fmt: skip
    return "\r\n".join([*lines, ""]).encode()
