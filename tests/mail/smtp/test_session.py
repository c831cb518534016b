"""The state machine under conversations nobody would hold on purpose."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.delivery_wishes import DeliveryNotice
from leap.mail.smtp.session import SmtpDialogue
from leap.mail.smtp.wire import MAX_COMMAND_LINE
from tests.mail.smtp.conversation import SMALL_LIMITS, Conversation, config, cut, tls_context

WORDS = [
    b"EHLO c\r\n",
    b"LHLO c\r\n",
    b"HELO c\r\n",
    b"MAIL FROM:<a@x.test>\r\n",
    b"MAIL FROM:<> SIZE=3\r\n",
    b"MAIL FROM:<a@x.test> SIZE=9999999\r\n",
    b"RCPT TO:<b@x.test>\r\n",
    b"RCPT TO:<no@x.test>\r\n",
    b"RCPT TO:<later@x.test>\r\n",
    b"RCPT TO:<full@x.test>\r\n",
    b"DATA\r\n",
    b"text\r\n..more\r\n",
    b"x" * 60,
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\0",
    b"\xff\xfe\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\n",
    b"AUTH PLAIN AGFsaWNlAG5v\r\n",
    b"AUTH LOGIN\r\n",
    b"YWxpY2U=\r\n",
    b"c2VzYW1l\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"BDAT 9\r\n",
    b"BDAT 12 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT x\r\n",
    b"RCPT TO:<d@x.test> NOTIFY=NEVER\r\n",
    b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
    b"QUIT\r\n",
    b"GET / HTTP/1.0\r\n",
    b"y" * 3_000 + b"\r\n",
    b"z" * 13_000 + b"\r\n",
]
OPENINGS = [
    b"",
    b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n",
    b"LHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<full@x.test>\r\nDATA\r\n",
    b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test> NOTIFY=DELAY\r\nBDAT 20\r\n",
    b"LHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<full@x.test>\r\nBDAT 5 LAST\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\nMAIL FROM:<a@x.test>\r\n",
]
REST = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=6)), max_size=30)
STREAMS = st.builds(lambda a, b: a + b"".join(b), st.sampled_from(OPENINGS), REST)
SETTINGS = [
    config(max_size=100, limits=SMALL_LIMITS),
    config(max_size=100, lmtp=True),
    config(max_size=100, auth="required", auth_needs_tls=False, tls=tls_context()),
    config(max_size=100, auth="optional", auth_needs_tls=False, scram=True, dsn=True),
]


@settings(max_examples=80, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 20_000), max_size=12), st.sampled_from(SETTINGS))
def test_the_pieces_in_which_octets_come_make_no_difference(
    stream: bytes, places: list[int], chosen: object
) -> None:
    talks = []
    for pieces in ([stream], cut(stream, places), cut(stream, range(min(len(stream), 400)))):
        talk = Conversation(chosen, shake_hands=False)  # type: ignore[arg-type]
        talk.hear(*pieces)
        talks.append((talk.said, talk.closed, talk.handler.mails, talk.handler.envelopes))
        assert re.fullmatch(rb"(?:[2-5][0-9][0-9][- ][ -~]*\r\n)*", talk.said)
    assert talks[0] == talks[1] == talks[2]


def test_what_stands_behind_starttls_is_never_done() -> None:
    talk = Conversation(config(tls=tls_context()), shake_hands=False)
    talk.hear(b"EHLO c\r\n")
    said = talk.hear(b"STARTTLS\r\nEHLO c\r\nMAIL FROM:<evil@x.test>\r\n")
    assert said == b"220 2.0.0 Begin TLS.\r\n"
    talk.hear(b"RCPT TO:<b@x.test>\r\n")
    talk.dialogue.tls_started("TLSv1.3")
    assert talk.hear(b"NOOP\r\n") == b"250 2.0.0 Done nothing.\r\n"
    assert talk.hear(b"RCPT TO:<b@x.test>\r\n").startswith(b"503")


def test_starttls_forgets_mail_begun_before() -> None:
    talk = Conversation(config(tls=tls_context()))
    talk.hear(b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n")
    talk.hear(b"STARTTLS\r\n")
    assert talk.session.helo == ""
    assert talk.hear(b"DATA\r\n").startswith(b"503")


@pytest.mark.parametrize(
    ("length", "answer"), [(MAX_COMMAND_LINE, b"250"), (MAX_COMMAND_LINE + 1, b"500")]
)
def test_a_command_line_has_a_limit(length: int, answer: bytes) -> None:
    talk = Conversation(config())
    line = b"NOOP " + b"x" * (length - 5)
    assert talk.hear(line + b"\r\n").startswith(answer)
    assert talk.hear(b"NOOP\r\n").startswith(b"250")


def test_a_line_without_end_closes_the_connection() -> None:
    talk = Conversation(config())
    said = talk.hear(*[b"x" * 65_536] * 20)
    assert said == b"421 4.7.0 A line without an end; the connection is closed.\r\n"
    assert talk.closed


def test_a_sender_who_never_stops_is_cut_off() -> None:
    talk = Conversation(config())
    talk.hear(b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
    piece = b"x" * 62 + b"\r\n"
    for _ in range(70):
        talk.hear(piece * 16_384)
    assert talk.closed
    assert talk.said.endswith(b"421 4.3.4 The mail is far too large; the connection is closed.\r\n")


def test_nothing_shows_a_password() -> None:
    settings = config(auth="optional", auth_needs_tls=False)
    dialogue = SmtpDialogue(settings, Conversation(settings).session)
    dialogue.receive(b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\n")
    event = dialogue.next_event()
    assert "alice" in repr(event)
    assert "sesame" not in repr(event)
    assert dialogue.next_event() is event, "an event comes again until it is answered"


def test_only_the_decision_that_was_asked_for_can_be_given() -> None:
    talk = Conversation(config())
    with pytest.raises(RuntimeError):
        talk.dialogue.decide(None)
    with pytest.raises(RuntimeError):
        talk.dialogue.authenticated("alice")
    with pytest.raises(RuntimeError):
        talk.dialogue.tls_started("TLSv1.3")


ENDS = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\r",
    b"\r\r\n",
    b"\0",
    b"\r\0\n",
    b"\x85",
    b"\v",
    b"\f",
    b"\xe2\x80\xa8",
]


@pytest.mark.parametrize("after", ENDS, ids=repr)
@pytest.mark.parametrize("before", ENDS, ids=repr)
def test_no_line_end_but_the_right_one_smuggles_a_mail(before: bytes, after: bytes) -> None:
    """Whatever stands around the dot: one mail is accepted or refused whole, and its end is the right one."""
    inner = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
    talk = Conversation(config())
    talk.hear(b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
    said = talk.hear(b"text" + before + b"." + after + inner + b"QUIT\r\n")
    senders = [mail[0] for mail in talk.handler.mails]
    if (
        before.endswith(b"\r\n") and after == b"\r\n"
    ):  # the right end: two mails, as the client said
        assert senders == (["a@x.test"] if before == b"\r\n" else []) + ["evil@x.test"]
    else:
        assert "evil@x.test" not in senders
        assert all(b"\0" not in raw for _, _, raw in talk.handler.mails)
        assert said.count(b"\r\n") == 2, "one reply to the mail, one to QUIT"


def test_chunks_refused_for_errors_end_the_connection() -> None:
    talk = Conversation(config(limits=SMALL_LIMITS))
    for _ in range(SMALL_LIMITS.errors + 1):
        talk.hear(b"BDAT 2\r\nhi")
    assert talk.closed
    assert talk.said.endswith(b"421 4.7.0 Too many errors; the connection is closed.\r\n")


def test_what_the_sender_asks_of_delivery_comes_with_the_envelope() -> None:
    talk = Conversation(config(dsn=True))
    talk.hear(
        b"EHLO c\r\nMAIL FROM:<a@x.test> RET=FULL ENVID=id+3D7\r\n"
        b"RCPT TO:<b@x.test> NOTIFY=SUCCESS ORCPT=rfc822;B+2B@x.test\r\n"
        b"RCPT TO:<b@x.test> NOTIFY=NEVER\r\nRCPT TO:<c@x.test>\r\nDATA\r\nhi\r\n.\r\n"
    )
    wishes = talk.handler.envelopes[0].wishes
    assert (wishes.returned, wishes.envelope_id, wishes.require_tls) == ("FULL", "id=7", False)
    assert wishes.notices == {
        "b@x.test": DeliveryNotice(notify=("SUCCESS",), original="rfc822;B+@x.test")
    }
    assert wishes.notice("c@x.test").wants("FAILURE")
