"""The MIME tree: exact offsets, bounded work, and an answer for any bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Defect, DefectKind, Part, scan
from leap.mail.message.scanner import MAX_DEPTH, MAX_PARTS


def body(raw: bytes, part: Part) -> bytes:
    return raw[part.body_start : part.end]


def kinds(part: Part) -> list[str]:
    return [one.content_type for one in part.walk()]


def check_invariants(raw: bytes, root: Part) -> None:
    assert (root.header_start, root.end) == (0, len(raw))
    for part in root.walk():
        assert 0 <= part.header_start <= part.body_start <= part.end <= len(raw)
        assert all(0 <= defect.offset <= len(raw) for defect in part.defects)
        if part.is_multipart:
            assert part.children
        if part.is_message:
            assert len(part.children) == 1
        if part.children:
            assert part.is_multipart or part.is_message
        position = part.body_start
        for child in part.children:
            assert position <= child.header_start
            assert child.end <= part.end
            position = child.end


MULTIPART = (
    b'Subject: x\r\nContent-Type: Multipart/Mixed; boundary="a b"\r\n\r\npreamble\r\n--a b\r\n\r\none\r\n'
    b"--a b  \r\nContent-Type: text/html\r\n\r\ntwo\r\n\r\n--a b--\r\nepilogue\r\n"
)


def test_parts_have_their_exact_octets() -> None:
    root = scan(MULTIPART)
    assert kinds(root) == ["multipart/mixed", "text/plain", "text/html"]
    assert [body(MULTIPART, part) for part in root.children] == [b"one", b"two\r\n"]
    assert root.defects == ()


def test_line_feeds_alone_are_line_ends_too() -> None:
    raw = MULTIPART.replace(b"\r\n", b"\n")
    assert [body(raw, part) for part in scan(raw).children] == [b"one", b"two\n"]


def test_the_body_begins_behind_the_first_empty_line() -> None:
    assert scan(b"A: b\r\n\r\nbody").body_start == 8
    assert scan(b"A: b\n\nbody").body_start == 6
    assert scan(b"\r\nbody").body_start == 2
    assert (
        scan(b"A: b\r\n \r\n c\r\n\r\nbody").body_start == 15
    )  # a line of white space is a folded one
    assert scan(b"A: b").body_start == 4
    assert scan(b"").body_start == 0


def test_a_line_that_is_no_field_is_passed_over_when_fields_follow() -> None:
    raw = b"From alice Mon Nov 2\nSubject: x\nbroken line\nContent-Type: text/html\n\nbody"
    root = scan(raw)
    assert (root.content_type, body(raw, root)) == ("text/html", b"body")
    assert root.defects == (Defect(DefectKind.LINE_WITHOUT_FIELD, 0),)


def test_text_without_an_empty_line_before_it_is_body() -> None:
    raw = b"Subject: x\nHello there,\nthis is text.\n\nAnd more."
    assert body(raw, scan(raw)) == b"Hello there,\nthis is text.\n\nAnd more."


def test_a_multipart_without_parts_holds_its_body_as_text() -> None:
    for head in (
        b"Content-Type: multipart/mixed",
        b"Content-Type: multipart/mixed; boundary=never",
        b'Content-Type: multipart/mixed; boundary=""',
    ):
        raw = head + b"\r\n\r\nall of it\r\n"
        root = scan(raw)
        assert kinds(root) == ["multipart/mixed", "text/plain"]
        assert body(raw, root.children[0]) == b"all of it\r\n"
        assert Defect(DefectKind.NO_PARTS, root.body_start) in root.defects


def test_a_cut_off_multipart_keeps_its_last_part() -> None:
    raw = MULTIPART[: MULTIPART.index(b"--a b--")]
    root = scan(raw)
    assert [body(raw, part) for part in root.children] == [b"one", b"two\r\n\r\n"]
    assert root.defects == (Defect(DefectKind.NO_END_OF_MULTIPART, len(raw)),)


def test_a_line_that_only_begins_like_a_boundary_is_text() -> None:
    raw = MULTIPART.replace(b"one", b"--a bc\r\n --a b\r\n--a b-\r\nx--a b")
    assert body(raw, scan(raw).children[0]) == b"--a bc\r\n --a b\r\n--a b-\r\nx--a b"


def test_two_boundaries_on_adjoining_lines_hold_nothing_between_them() -> None:
    raw = MULTIPART.replace(b"--a b\r\n", b"--a b\r\n--a b\r\n", 1)
    assert [body(raw, part) for part in scan(raw).children] == [b"one", b"two\r\n"]


def test_an_outer_boundary_ends_an_inner_multipart() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
        b"--i\r\n\r\ninner\r\n--o\r\n\r\nouter\r\n--o--\r\n"
    )
    root = scan(raw)
    assert [body(raw, part) for part in root.walk() if not part.children] == [b"inner", b"outer"]


def test_messages_inside_messages_are_opened() -> None:
    inner = b"Subject: inner\r\n\r\ninner body"
    raw = b"Content-Type: message/rfc822\r\n\r\n" + inner
    root = scan(raw)
    assert raw[root.children[0].header_start : root.children[0].end] == inner
    assert body(raw, root.children[0]) == b"inner body"


def test_parts_of_a_digest_are_messages_unless_they_say_otherwise() -> None:
    raw = (
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\n1\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\n2\r\n--b--"
    )
    assert kinds(scan(raw)) == ["multipart/digest", "message/rfc822", "text/plain", "text/plain"]


@pytest.mark.parametrize(
    ("value", "kind", "params"),
    [
        (b"text/plain; charset=utf-8", "text/plain", {"charset": b"utf-8"}),
        (b"TEXT/HTML;CHARSET=\"x\\\"y\"", "text/html", {"charset": b'x"y'}),
        (b"text/plain (a comment); charset=us-ascii (plain text)", "text/plain", {"charset": b"us-ascii"}),
        (b"text/plain; name=my file.txt; x=1", "text/plain", {"name": b"my file.txt", "x": b"1"}),
        (b"text/plain; name=foo(1).pdf", "text/plain", {"name": b"foo(1).pdf"}),
        (b"text/plain;\r\n\tcharset=\"iso-\r\n 8859-1\"", "text/plain", {"charset": b"iso- 8859-1"}),
        (b"text/plain; a=1; a=2", "text/plain", {"a": b"1"}),
        (b"text/plain; charset", "text/plain", {}),
        (b"text/plain;;; charset=\"unclosed", "text/plain", {"charset": b"unclosed"}),
        (b"application/pdf", "application/pdf", {}),
        (b"garbage", "text/plain", {}),
        (b"", "text/plain", {}),
        (b"t\xe4xt/plain", "text/plain", {}),
    ],
)  # fmt: skip
def test_content_types_are_read_as_they_were_meant(
    value: bytes, kind: str, params: dict[str, bytes]
) -> None:
    root = scan(b"Content-Type: " + value + b"\r\n\r\n")
    assert (root.content_type, root.params) == (kind, params)


def test_a_boundary_may_be_spelled_by_rfc_2231() -> None:
    raw = b"Content-Type: multipart/mixed; boundary*=us-ascii'en'a%20b\r\n\r\n--a b\r\n\r\nx\r\n--a b--"
    assert [body(raw, part) for part in scan(raw).children] == [b"x"]


def test_nesting_deeper_than_the_cap_becomes_a_leaf() -> None:
    raw = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
        for i in range(MAX_DEPTH + 20)
    )
    root = scan(raw)
    check_invariants(raw, root)
    last = list(root.walk())[-1]
    assert (last.content_type, last.defects[-1].kind) == (
        "application/octet-stream",
        DefectKind.TOO_DEEP,
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 500_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b" * 1_000_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: message/rfc822\r\n\r\n" * 50_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(20_000)),
        b"Content-Type: message/rfc822\n\n" * 50_000,
        b"x" * 3_000_000,
        b"x:\n" * 1_000_000,
        b"x\n" * 1_000_000,
        b"x:\n \n" * 500_000,
        b" \n" * 1_000_000,
        b"Content-Type: text/plain" + b"; a=b" * 500_000 + b"\n\n",
        b"Content-Type: text/plain; a=\"" + b"\\" * 2_000_000 + b"\n\n",
        b"Content-Type: text/plain" + b"; a*1*" * 300_000 + b"\n\n",
        b"Content-Type:" + b"(" * 1_000_000 + b"\n\n",
        b"Content-Type:\n" * 300_000,
        b"Content-Type: " + b"\n " * 1_000_000 + b"\n\n",
    ],
    ids=range(17),
)  # fmt: skip
def test_bombs_are_scanned_in_bounded_time(raw: bytes) -> None:
    started = time.process_time()
    root = scan(raw)
    assert time.process_time() - started < 2.0  # 0.3 s measured for the worst on a slow machine
    check_invariants(raw, root)
    assert sum(1 for _ in root.walk()) <= MAX_PARTS + 2


LINES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"--b\r\n", b"--b--\r\n", b"--b\n", b"--c\r\n", b"--c--", b"text\r\n", b": \n", b"A: b\r\n"
     b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=c\r\n",
     b"Content-Type: message/rfc822\r\n", b"Content-Type: text/html;\r\n charset=x\r\n", b"\x00\xff\r\n", b" fold\r\n",
     b"Content-Transfer-Encoding: base64\r\n", b"From x\n", b"Content-Type: multipart/x\r\n"]
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(LINES, max_size=40).map(b"".join) | st.binary(max_size=300))
def test_any_bytes_have_a_tree_within_its_invariants(raw: bytes) -> None:
    check_invariants(raw, scan(raw))
