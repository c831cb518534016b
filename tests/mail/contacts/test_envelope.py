"""Who wrote to whom, read back from the ENVELOPE that a header record keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leap.mail.contacts.envelope import MOST, Person, people_of
from leap.mail.message import Message


def people(header: bytes) -> tuple[list[Person], list[Person]]:
    return people_of(Message(header + b"\r\n").envelope)


def test_senders_and_recipients_are_read_with_their_names() -> None:
    senders, recipients = people(
        b'From: "Bob \\"B\\" Builder" <BOB@Example.test>\r\n'
        b"To: friends: carol@example.test, =?utf-8?q?J=C3=BCrgen?= <j@example.test>;\r\n"
        b"Cc: Bob <bob@example.test>\r\nBcc: dan@b\xc3\xbccher.example\r\nSubject: {3}\r\n x (\\\r\n"
    )
    assert senders == [Person("bob@example.test", 'Bob "B" Builder')]
    assert recipients == [
        Person("carol@example.test", ""),
        Person("j@example.test", "Jürgen"),
        Person("bob@example.test", "Bob"),
        Person("dan@xn--bcher-kva.example", ""),
    ]


def test_an_address_counts_once_with_the_first_name_it_has() -> None:
    _, recipients = people(b"To: a@x.test, Ann <A@x.test>\r\nCc: Other <a@x.test>\r\n")
    assert recipients == [Person("a@x.test", "Ann")]


def test_of_a_mailing_the_first_hundred_count() -> None:
    _, recipients = people(b"To: " + b", ".join(b"p%d@x.test" % n for n in range(500)) + b"\r\n")
    assert [one.address for one in recipients] == [f"p{n}@x.test" for n in range(MOST)]


def test_what_is_no_address_is_nobody() -> None:
    assert people(b"From: undisclosed\r\nTo: recipients:;, @x.test\r\n") == ([], [])


@given(st.binary(max_size=80) | st.text('() "\\{}123NIL\r\n', max_size=60).map(str.encode))
def test_no_octets_make_it_raise(octets: bytes) -> None:
    people_of(octets)
    people_of(b'("" "" ' + octets + b" NIL NIL NIL NIL NIL NIL NIL)")


@given(st.binary(max_size=60))
def test_whatever_a_header_holds_its_envelope_can_be_read(value: bytes) -> None:
    value = value.replace(b"\n", b" ").replace(b"\r", b" ")
    raw = b"From: bob@example.test\r\nSubject: " + value + b"\r\nTo: " + value + b"\r\n\r\n"
    assert people_of(Message(raw).envelope)[0] == [Person("bob@example.test", "")]
