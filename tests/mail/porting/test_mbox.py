"""All four kinds of mbox: where messages begin and end, and their octets."""

from __future__ import annotations

import mailbox
import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.porting.found import Found, Oddity
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_kinds import KINDS, MboxKind, is_mbox, quoted, separator_line, unquoted

SEPARATOR = b"From a@example.test Sun Nov 22 12:00:00 2026\n"
ANY = 1 << 40


def read(path: Path, kind: MboxKind | None = None) -> tuple[list[Found], list[Oddity], str]:
    odd: list[Oddity] = []
    with MboxFile(path, kind) as box:
        return list(box.messages(odd.append, ANY)), odd, box.kind


def written(path: Path, kind: MboxKind, messages: list[bytes]) -> Path:
    """An mbox of a kind, as a program that knows only this one writes it."""
    out = b""
    for raw in messages:
        header, _, body = raw.partition(b"\n\n")
        if kind in ("mboxo", "mboxcl"):
            body = b"\n".join(
                b">" + line if line.startswith(b"From ") else line for line in body.split(b"\n")
            )
        elif kind == "mboxrd":
            body = b"\n".join(
                b">" + line if line.lstrip(b">").startswith(b"From ") else line
                for line in body.split(b"\n")
            )
        if kind in ("mboxcl", "mboxcl2"):
            header += b"\nContent-Length: %d" % len(body)
        out += SEPARATOR + header + b"\n\n" + body + b"\n"
    path.write_bytes(out)
    return path


PLAIN = [
    b"Subject: one\n\nFrom the start\n>From quoted\n>>From twice\nend\n",
    b"Subject: two\n\n",
    b"Subject: three\n\nlast\n\n\n",
]


def with_length(raw: bytes, quoted_once: bool) -> bytes:
    header, _, body = raw.partition(b"\n\n")
    extra = body.count(b"From the start") if quoted_once else 0
    return header + b"\nContent-Length: %d\n\n" % (len(body) + extra) + body


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_its_messages_back(tmp_path: Path, kind: MboxKind) -> None:
    found, odd, read_as = read(written(tmp_path / "box", kind, PLAIN))
    assert read_as == ("mboxrd" if kind == "mboxo" else kind)
    if kind == "mboxo":
        found, odd, _ = read(tmp_path / "box", "mboxo")
    expected = PLAIN
    if kind in ("mboxcl", "mboxcl2"):
        expected = [with_length(raw, kind == "mboxcl") for raw in PLAIN]
    if kind in ("mboxo", "mboxcl"):  # these lose what was quoted before they quoted
        expected = [raw.replace(b"\n>From quoted", b"\nFrom quoted") for raw in expected]
    assert [one.raw for one in found] == expected
    assert odd == []
    assert found[0].internal_date == 1_795_348_800


def test_a_body_may_hold_whole_mboxes_when_its_length_says_so(tmp_path: Path) -> None:
    body = SEPARATOR + b"Subject: inner\n\ninner\n\n" + SEPARATOR + b"Subject: inner two\n\n"
    outer = b"Subject: outer\nContent-Length: %d\n\n" % len(body) + body
    (tmp_path / "box").write_bytes(SEPARATOR + outer + b"\n" + SEPARATOR + outer)
    found, _, kind = read(tmp_path / "box")
    assert kind == "mboxcl2"
    assert [one.raw for one in found] == [outer, outer]


def test_a_length_that_leads_nowhere_is_not_believed(tmp_path: Path) -> None:
    swallow = b"Subject: a\nContent-Length: 999999\n\nbody\n"
    good = b"Subject: b\nContent-Length: 5\n\nbody\n"
    (tmp_path / "box").write_bytes(b"\n".join((SEPARATOR + swallow, SEPARATOR + good, b"")))
    found, odd, kind = read(tmp_path / "box")
    assert kind == "mboxcl2"
    assert [one.raw for one in found] == [swallow, good]
    assert [one.kind for one in odd] == ["wrong-length"]


def test_one_sender_cannot_swallow_the_mail_after_theirs(tmp_path: Path) -> None:
    """A Content-Length that spans other messages, in a file whose writer knows nothing of lengths."""
    others = [b"Subject: %d\n\nbody\n" % n for n in range(4)]
    between = b"\n".join(SEPARATOR + raw for raw in others[:2])
    evil = b"Subject: evil\nContent-Length: %d\n\nbody\n" % (len(b"body\n\n") + len(between))
    messages = [evil, *others]
    (tmp_path / "box").write_bytes(b"".join(SEPARATOR + raw + b"\n" for raw in messages))
    found, _, kind = read(tmp_path / "box")
    assert (kind, [one.raw for one in found]) == ("mboxrd", messages)


def test_lines_of_text_are_no_separators(tmp_path: Path) -> None:
    raw = b"Subject: a\n\nFrom here on: nothing\n\nFrom there too.\nMore\n"
    (tmp_path / "box").write_bytes(SEPARATOR + raw + b"\n" + SEPARATOR + b"Subject: b\n\n")
    found, _, _ = read(tmp_path / "box")
    assert [one.raw for one in found] == [raw, b"Subject: b\n\n"[:-1]]


def test_separators_without_dates_and_without_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "undated").write_bytes(b"From -\nSubject: a\n\nx\n\nFrom -\nSubject: b\n\ny\n")
    assert len(read(tmp_path / "undated")[0]) == 2
    (tmp_path / "tight").write_bytes(
        SEPARATOR + b"Subject: a\n\nx\n" + SEPARATOR + b"Subject: b\n\n"
    )
    tight, _, _ = read(tmp_path / "tight")
    assert [one.raw for one in tight] == [b"Subject: a\n\nx\n", b"Subject: b\n\n"[:-1]]
    assert not is_mbox(b"From here to there")
    assert not is_mbox(b"Subject: x\n\nFrom a Sun Nov 22 12:00:00 2026\n")


def test_crlf_files_and_files_without_a_last_line_end(tmp_path: Path) -> None:
    raw = b"Subject: a\r\n\r\nFrom x\r\n".replace(b"From", b">From")
    (tmp_path / "box").write_bytes(
        (SEPARATOR.replace(b"\n", b"\r\n") + raw + b"\r\n") * 2 + SEPARATOR + b"Subject: c\n\nend"
    )
    found, _, _ = read(tmp_path / "box")
    assert [one.raw for one in found] == [
        raw.replace(b">", b""),
        raw.replace(b">", b""),
        b"Subject: c\n\nend",
    ]


def test_flags_are_read_from_what_programs_note(tmp_path: Path) -> None:
    messages = [
        b"Subject: a\nStatus: RO\nX-Status: AF\nX-Keywords: work $Label1   \n\nStatus: none\n",
        b"Subject: b\nX-Mozilla-Status: 1007\n\n",
        b"Subject: gone\nX-Mozilla-Status: 0009\n\n",
        b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\n",
        b"Subject: c\nStatus: O\n\n",
    ]
    found, odd, _ = read(written(tmp_path / "box", "mboxrd", messages))
    assert [set(one.flags) for one in found] == [
        {"\\Seen", "\\Answered", "\\Flagged", "work", "$Label1"},
        {"\\Seen", "\\Answered", "\\Flagged", "$Forwarded"},
        set(),
    ]
    assert [one.kind for one in odd] == ["expunged", "skipped"]


def test_huge_lines_and_many_candidates_take_linear_time(tmp_path: Path) -> None:
    body = b"x" * 3_000_000 + b"\nFrom" + b"\nFrom " * 30_000 + b"\n"
    (tmp_path / "box").write_bytes(SEPARATOR + b"Subject: a\n\n" + body)
    [one], _, _ = read(tmp_path / "box")
    assert one.raw.endswith(body)


def test_what_is_above_the_limit_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    written(tmp_path / "box", "mboxrd", [b"Subject: a\n\n" + b"x" * 2000, b"Subject: b\n\n"])
    odd: list[Oddity] = []
    with MboxFile(tmp_path / "box") as box:
        [found] = box.messages(odd.append, 1000)
    assert (found.where[-9:], odd[0].kind) == ("message 2", "too-large")


def test_the_standard_library_finds_the_same_messages(corpus: Path) -> None:
    files = sorted((corpus / "mbox").rglob("*.mbox*"))
    assert len(files) == 47
    differing = {}
    for path in files:
        ours = len(read(path, "mboxrd")[0])
        with closing(mailbox.mbox(str(path), create=False)) as box:
            theirs = len(box)
        if ours != theirs:
            differing[path.name] = (ours, theirs)
    # It takes no message after a byte order mark, and two "From Russia with love" for beginnings
    assert differing == {"mbox__unmunged.mbox.txt": (2, 3)}


MESSAGE = st.lists(
    st.sampled_from(
        [b"From x", b">From y", b">>From ", b"", b"Subject: a", b"text", b"\r", b"\xff"]
    ),
    max_size=8,
).map(lambda lines: b"Subject: s\n\n" + b"\n".join(lines) + b"\n")


@settings(max_examples=30, deadline=None)
@given(messages=st.lists(MESSAGE, min_size=1, max_size=4))
def test_what_we_write_is_read_back(
    messages: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.mbox"
    path.write_bytes(
        b"".join(separator_line(n) + quoted(raw) + b"\n" for n, raw in enumerate(messages))
    )
    found, _, _ = read(path, "mboxrd")
    assert [one.raw for one in found] == messages
    assert [one.internal_date for one in found] == list(range(len(messages)))


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=400) | MESSAGE, kind=st.sampled_from([None, *KINDS]))
def test_any_octets_are_read_without_an_error(
    data: bytes, kind: MboxKind | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mbox"
    path.write_bytes(SEPARATOR + data)
    found, _, _ = read(path, kind)
    assert sum(len(one.raw) for one in found) <= len(data)
    assert unquoted(quoted(data), "mboxrd") == data


def test_a_link_or_pipe_is_no_mbox(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no ordinary file"):
        MboxFile(tmp_path / "pipe")
