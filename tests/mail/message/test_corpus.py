"""The shared corpus of real and broken mail: never an exception, and the standard library's parts."""

from __future__ import annotations

import binascii
import email
import email.message
import re
from collections import Counter
from pathlib import Path

import pytest

from leap.mail.local import LOCAL
from leap.mail.message import Message, scan
from leap.mail.model import record_of
from tests.mail.message.corpus_mail import (
    ask_everything,
    corpus_mails,
    kept_exactly,
    mbox_mails,
    torment,
)
from tests.mail.message.test_scanner import check_invariants

pytestmark = pytest.mark.corpus

# Where the standard library cuts otherwise, it says one of these itself
EXPLAINED = {
    "CloseBoundaryNotFoundDefect": "cut off: ours keeps the last part to its last octet, theirs drops a line end",
    "StartBoundaryNotFoundDefect": "no such boundary: ours is one text part of the exact body, theirs a string; "
    "or a boundary folded inside its quotes, which only ours unfolds (RFC 5322 2.2.3)",
    "MissingHeaderBodySeparatorDefect": "a damaged line: ours goes on when fields follow, theirs begins the body",
    "MultipartInvariantViolationDefect": "as StartBoundaryNotFoundDefect",
}
CUT_OTHERWISE = {
    "horde-mime/fixtures__deeply_nested.eml": "nests 101 deep; 64 are opened",
    "kmime/data__dfaure-crash.eml": "a line with an empty name before the empty line begins the body",
}
DECODED_OTHERWISE = {
    "stalwart-mail-parser/thirdparty__003.eml": "theirs takes spaces behind the encoding for its name",
    "james-mime4j/mimetools-testmsgs__twopart.eml": "damaged base64: theirs gives it up, ours decodes what it can",
    "enmime/mail__mime-bad-content-transfer-encoding.raw.eml": "no base64 at all: ours notices when asked for text",
    "enmime/parts__extra-base64-character.raw.eml": "damaged base64",
    "flanker/messages__enclosed-broken-body.eml": "damaged base64",
    "spamassassin-tests/nice__mime4.eml": "damaged base64",
    "james-project/resources__invalid.eml": "damaged base64",
    "ietf-mailarchive/data__bad_transfer_encoding.mail.eml": "damaged base64",
    "kmime/data__x-pkcs7.eml": "damaged base64",
    "sympa/samples__urlize-nested-alternative.eml": "damaged base64",
}

TRAILING_SPACE = re.compile(rb"(?<=[^ \t])[ \t]+(?=\r?\n|\Z)|^[ \t]+(?=\r?\n|\Z)", re.MULTILINE)
SLICE = 20  # every so manieth mail is asked everything and goes through an account; all in `make soak ARGS=corpus`


@pytest.fixture(scope="module")
def mails(corpus: Path) -> dict[str, bytes]:
    return corpus_mails(corpus)


def leaves(message: email.message.Message) -> list[email.message.Message]:
    return [part for part in message.walk() if not part.is_multipart()]


def stored(part: email.message.Message) -> bytes:
    """The body as the standard library cut it: get_payload() would decode 8-bit text."""
    payload = vars(part)["_payload"]
    return payload.encode("ascii", "surrogateescape") if isinstance(payload, str) else b""


def opens_reports(message: email.message.Message) -> bool:
    """Whether it takes a delivery-status or the like for a container, which RFC 2046 5.2 does not."""
    kinds = {part.get_content_type() for part in message.walk()}
    return any(kind.startswith("message/") and kind != "message/rfc822" for kind in kinds)


def test_every_mail_can_be_stored(mails: dict[str, bytes], corpus: Path) -> None:
    """All of them are scanned, and what is derived of a mail at storage is derived."""
    mboxes = mbox_mails(corpus)
    assert len(mails) == 3009
    assert len(mboxes) > 250
    previews = 0
    for raw in (mails | mboxes).values():
        message = Message(raw)
        check_invariants(raw, message.root)
        previews += bool(record_of(message, LOCAL).preview)
    assert previews > 2800


def test_mail_can_be_asked_everything(mails: dict[str, bytes], corpus: Path) -> None:
    """A slice: `make soak ARGS=corpus` asks all of them."""
    some = list((mails | mbox_mails(corpus)).items())
    for name, raw in some[::SLICE]:
        if len(raw) <= 500_000 or "endless" not in name:  # a million tags: test_searchable has it
            ask_everything(raw)


def test_parts_and_contents_agree_with_the_standard_library(mails: dict[str, bytes]) -> None:
    reasons: Counter[str] = Counter()
    cut: set[str] = set()
    decoded: set[str] = set()
    for name, raw in mails.items():
        theirs = email.message_from_bytes(raw)
        root = scan(raw)
        ours = [part for part in root.walk() if not part.children]
        if [raw[part.body_start : part.end] for part in ours] == list(map(stored, leaves(theirs))):
            reasons["equal"] += 1
            message = Message(raw)
            for mine, other in zip(ours, leaves(theirs), strict=True):
                content, expected = message.content(mine), other.get_payload(decode=True)
                body = message.body(mine)
                if content == expected:
                    continue
                # RFC 2045 6.7 (3): white space at the end of a line goes, which theirs keeps
                if expected == binascii.a2b_qp(body):
                    assert content == binascii.a2b_qp(TRAILING_SPACE.sub(b"", body))
                    reasons["trailing space"] += 1
                else:
                    decoded.add(name)
            continue
        said = {type(defect).__name__ for part in theirs.walk() for defect in part.defects}
        if opens_reports(theirs):
            reasons["opens reports"] += 1
        elif explained := said & EXPLAINED.keys():
            reasons[min(explained)] += 1
        else:
            cut.add(name)
    print(reasons)
    assert cut == CUT_OTHERWISE.keys()
    assert decoded == DECODED_OTHERWISE.keys()
    assert reasons["equal"] > 2830


async def test_an_account_gives_back_the_exact_octets(
    mails: dict[str, bytes], tmp_path: Path
) -> None:
    chosen = list(mails.values())[::SLICE]
    assert await kept_exactly(tmp_path, chosen) == len(chosen)


def test_mutated_mail_can_be_asked_everything(mails: dict[str, bytes]) -> None:
    report = torment([raw for raw in mails.values() if len(raw) < 6000], 500, 20261122)
    assert report.slowest < 1.0
