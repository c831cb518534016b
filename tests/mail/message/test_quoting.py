"""Replies and forwarded mail: whom, about what, and only the other person's own words."""

from __future__ import annotations

import pytest

from leap.mail.message import Message
from leap.mail.message.quoting import (
    MAX_REFERENCES,
    forward_subject,
    forwarded,
    quoted,
    references,
    reply,
    reply_subject,
)

PARENT = Message(
    b"From: Alice <alice@x.test>\r\nTo: bob@x.test, Carol <carol@x.test>\r\nCc: dave@x.test, BOB@x.test\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nSubject: =?utf-8?q?AW=3A_Re=3A_Gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <c@x>\r\nReferences: <a@x> <b@x>\r\n\r\n"
    b"First thought.\r\n\r\nOn Sunday, Bob wrote:\r\n> old\r\n> > older\r\n\r\nSecond thought.\r\n-- \r\nAlice\r\n"
)


def test_a_reply_goes_to_the_sender_and_quotes_one_layer() -> None:
    answer = reply(PARENT, own=["bob@x.test"])
    assert answer.to == (("Alice", "alice@x.test"),)
    assert answer.cc == ()
    assert answer.subject == "Re: Grüße"
    assert answer.in_reply_to == ("<c@x>",)
    assert answer.references == ("<a@x>", "<b@x>", "<c@x>")
    assert answer.text == (
        "On Mon, 2 Nov 2026 10:00:00 +0100, Alice wrote:\n> First thought.\n>\n> Second thought.\n"
    )


def test_everyone_is_named_once_and_oneself_not() -> None:
    answer = reply(PARENT, own=["bob@x.test"], everyone=True)
    assert answer.cc == (("Carol", "carol@x.test"), ("", "dave@x.test"))


def test_where_the_sender_wants_replies_they_go() -> None:
    parent = Message(b"From: alice@x.test\r\nReply-To: list@x.test\r\n\r\n")
    assert reply(parent, own=[]).to == (("", "list@x.test"),)


def test_a_reply_to_ones_own_mail_goes_to_whom_that_went() -> None:
    answer = reply(PARENT, own=["alice@x.test"])
    assert [address for _, address in answer.to] == ["bob@x.test", "carol@x.test"]


def test_a_mail_that_says_nothing_of_itself_can_be_answered() -> None:
    answer = reply(Message(b""), own=[])
    assert (answer.to, answer.in_reply_to, answer.references) == ((), (), ())
    assert answer.subject == "Re:"
    assert answer.text == "somebody wrote:\n\n"


def test_references_of_an_endless_conversation_are_bounded() -> None:
    ids = [f"<{at}@x>" for at in range(100)]
    parent = Message(f"References: {' '.join(ids)}\r\nMessage-ID: <last@x>\r\n\r\n".encode())
    found = references(parent)
    assert len(found) == MAX_REFERENCES
    assert (found[0], found[-2:]) == ("<0@x>", ("<99@x>", "<last@x>"))


@pytest.mark.parametrize(
    ("subject", "answer", "passed_on"),
    [
        ("x", "Re: x", "Fwd: x"),
        ("Re: x", "Re: x", "Fwd: Re: x"),
        ("RE: AW: Re[2]: x", "Re: x", "Fwd: RE: AW: Re[2]: x"),
        ("Fwd: x", "Re: Fwd: x", "Fwd: x"),
        ("Regarding: x", "Re: Regarding: x", "Fwd: Regarding: x"),
    ],
)
def test_a_subject_gets_its_prefix_once(subject: str, answer: str, passed_on: str) -> None:
    assert (reply_subject(subject), forward_subject(subject)) == (answer, passed_on)


def test_html_is_quoted_without_its_own_quotations() -> None:
    parent = Message(
        b"Content-Type: text/html\r\n\r\n<div>new</div><blockquote type=cite>old<blockquote type=cite>older"
        b"</blockquote></blockquote><blockquote>indented</blockquote>"
    )
    assert parent.body_text == "new\n\n> old\n>\n>> older\n\nindented"
    assert parent.preview == "new indented"
    assert quoted(parent.body_text) == "> new\n>\n> indented"


def test_a_forwarded_mail_shows_who_wrote_it_when_to_whom() -> None:
    assert forwarded(PARENT).splitlines()[:6] == [
        "---------- Forwarded message ----------",
        "From: Alice <alice@x.test>",
        "Date: Mon, 02 Nov 2026 10:00:00 +0100",
        "Subject: AW: Re: Grüße",
        "To: bob@x.test, Carol <carol@x.test>",
        "Cc: dave@x.test, BOB@x.test",
    ]
