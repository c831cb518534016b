"""Messages of other projects' suites, about which those say what is right (Dovecot's imaptest: fetch-*)."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.mail.message import Message
from leap.mail.message.compose import to_crlf
from tests.mail.message.imap_grammar import read_value

pytestmark = pytest.mark.corpus

_FROM = b'((NIL NIL "user" "domain"))'
_REAL = b'(("Real Name" NIL "user" "domain"))'
_ROUTE = b'((NIL "@route" "user" "domain"))'
_DATE = b'"Thu, 15 Feb 2007 01:02:03 +0200"'
ENVELOPES = {
    "0001": b'("Thu, 15 Feb 2007 01:02:03 +0200" "subject header" (("From Real" NIL "fromuser" "fromdomain.org")) '
    b'(("Sender Real" NIL "senderuser" "senderdomain.org")) (("ReplyTo Real" NIL "replytouser" "replytodomain.org")) '
    b'(("To Real" NIL "touser" "todomain.org")) (("Cc Real" NIL "ccuser" "ccdomain.org")) '
    b'(("Bcc Real" NIL "bccuser" "bccdomain.org")) "<reply@to.id>" "<msg@id>")',
    "0002": b"(%b NIL %b %b %b NIL NIL NIL NIL NIL)" % (_DATE, _FROM, _FROM, _FROM),
    "0004": b'(%b NIL %b %b %b ((NIL NIL "group" NIL)(NIL NIL "g1" "d1.org")(NIL NIL "g2" "d2.org")'
    b'(NIL NIL NIL NIL)(NIL NIL "group2" NIL)(NIL NIL "g3" "d3.org")(NIL NIL NIL NIL)) '
    b'((NIL NIL "group" NIL)(NIL NIL NIL NIL)(NIL NIL "group2" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)'
    % (_DATE, _REAL, _REAL, _REAL),
    "0005": b"(%b NIL %b %b %b NIL NIL NIL NIL NIL)" % (_DATE, _REAL, _REAL, _REAL),
    "0006": b"(%b NIL %b %b %b NIL NIL NIL NIL NIL)" % (_DATE, _ROUTE, _ROUTE, _ROUTE),
}  # fmt: skip
CONTENTS = {
    "fetch-binary-mime-base64": {
        "1": b"hello world",
        "2": b"hello world",
        "3": b"hello to you too",
        "4": b"hello to everyone!",
        "5": b"abcdefg\rhijkl\r\nmno\npqrstuvqxyz",
    },
    "fetch-binary-mime-qp": {
        "1": b"hello\r\nbar\r\nfoo\tbar\r\nfoo\t \tb\r\nfoo bar\r\nfoo b\r\nfoo\r\nbar\r\nfoo_bar\r\n",
    },
    "fetch-body-message-rfc822-mime": {
        "1.1": b"From: m1@example.com\r\nSubject: m1\r\n\r\nm1 body\r\n",
        "1.2": b"From: m2@example.com\r\nSubject: m2\r\n\r\nm2 body\r\n",
    },
}


def imaptest(corpus: Path, name: str) -> Message:
    """As its program appends it: with CRLF."""
    return Message(to_crlf((corpus / "imaptest" / f"tests__{name}.eml").read_bytes()))


@pytest.mark.parametrize("number", ENVELOPES)
def test_envelopes_are_what_dovecot_expects(corpus: Path, number: str) -> None:
    found = imaptest(corpus, f"fetch-envelope-{number}").envelope
    assert read_value(found) == read_value(ENVELOPES[number])


def test_a_structure_is_what_dovecot_expects(corpus: Path) -> None:
    found = imaptest(corpus, "fetch-bodystructure").body_summary
    expected = b'(("TEXT" "x-MYOWN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 7 1) "MIXED")'
    assert found.upper() == expected.upper()


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_what_dovecot_expects(corpus: Path, name: str) -> None:
    message = imaptest(corpus, name)
    for path, content in CONTENTS[name].items():
        part = message.part(path)
        assert part is not None
        assert message.content(part) == content
