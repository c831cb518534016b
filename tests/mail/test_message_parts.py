"""A message in all its forms, and its parts, of which only what is asked for is read."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail import Account, Message, Person
from leap.mail.answers import PartTree
from leap.mail.contract import INBOX
from leap.mail.envelope import read_envelope
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.message import Message as MessageView
from leap.mail.message.decoding import decode_transfer
from leap.mail.message.scanner import part_tree
from leap.mail.message.transfer import decoder_for
from leap.mail.outline import read_outline
from leap.soledad.blobs.streams import OpenFile
from tests.conformance.account_backend import BROKEN, ENCODED, PLAIN
from tests.conformance.account_making import NESTED

HTML = (
    b"From: a@example.test\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p>Only <b>HTML</b></p>\r\n"
    b"--x\r\nContent-Type: text/plain; format=flowed\r\n\r\nflowed \r\ntext\r\n--x--\r\n"
)
DIGEST = (
    b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\nfirst\r\n"
    b"--d\r\nContent-Type: text/plain; name=x.txt\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--d--\r\n"
)
UU = (
    b"Content-Transfer-Encoding: x-uuencode\r\nContent-Type: image/gif\r\n\r\n"
    b"begin 644 dot.gif\r\n#0V%T\r\n`\r\nend\r\n"
)
ALL = [
    PLAIN,
    ENCODED,
    BROKEN,
    NESTED,
    HTML,
    DIGEST,
    UU,
    b"",
    b"\r\n",
    b"Content-Type: multipart/mixed\r\n\r\nno",
]


def large(size: int = 30_000_000) -> tuple[bytes, bytes, bytes]:
    """A message with a text, and two files of together `size` octets: whole, plain file, encoded file's content."""
    plain = os.urandom(size // 2).replace(b"\n", b"-")
    encoded = os.urandom(size * 3 // 8)
    raw = (
        b"From: Alice <alice@example.test>\r\nSubject: Films\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nTwo films.\r\n"
        b"--x\r\nContent-Type: video/mp4\r\nContent-Disposition: attachment; filename=one.mp4\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" + plain + b"\r\n"
        b"--x\r\nContent-Type: video/mp4; name=two.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(encoded)
        + b"\r\n--x--\r\n"
    )
    return raw, plain, encoded


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with Account(MemoryAccount()) as account:
        yield account


async def stored(account: Account, raw: bytes) -> Message:
    inbox = await account.collection("INBOX")
    message = await inbox.by_uid((await inbox.add(raw)).uid)
    assert message is not None
    return message


async def test_a_part_of_a_large_message_is_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted are the octets read of the files in which contents lie, in chunks of 64 kB."""
    octets = 0
    read_at, read_bytes = OpenFile.read_at, Path.read_bytes

    async def counted(self: OpenFile, start: int, length: int) -> bytes:
        nonlocal octets
        octets += length
        return await read_at(self, start, length)

    def counted_whole(self: Path) -> bytes:
        nonlocal octets
        data = read_bytes(self)
        octets += len(data)
        return data

    monkeypatch.setattr(OpenFile, "read_at", counted)
    monkeypatch.setattr(Path, "read_bytes", counted_whole)
    raw, plain, encoded = large()

    async def cost(work: Any) -> tuple[Any, int]:
        nonlocal octets
        octets = 0
        return await work, octets

    async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
        backend = LocalAccount(store, "alice@example.test")
        account = Account(backend)
        message = await stored(account, raw)
        await backend.deriving.finish()  # which reads all of it
        assert await cost(message.envelope()) == (await message.envelope(), 0)
        assert (await cost(message.structure()))[1] == 0
        text, used = await cost(message.text())
        assert (text.strip(), used < 500_000) == ("Two films.", True)
        files, used = await cost(message.attachments())
        assert [(one.attachment_name, one.number) for one in files] == [
            ("one.mp4", "2"),
            ("two.mp4", "3"),
        ]
        assert used < 500_000
        one, two = files
        piece, used = await cost(one.read(10_000_000, 1000))
        assert (piece == plain[10_000_000:10_001_000], used < 300_000) == (True, True)
        piece, used = await cost(two.read(100, 1000))
        assert (piece == encoded[100:1100], used < 700_000) == (True, True)
        content, used = await cost(two.content())
        assert content == encoded
        assert used < two.size + 400_000
        assert await two.read(len(encoded) - 5) == encoded[-5:]
        assert b"".join([piece async for piece in one.stream()]) == plain
        assert b"".join([piece async for piece in two.stream()]) == encoded
        assert b"".join([piece async for piece in message.stream()]) == raw
        await account.close()


@pytest.mark.parametrize("raw", ALL)
async def test_parts_are_those_of_the_whole_message(account: Account, raw: bytes) -> None:
    message, view = await stored(account, raw), MessageView(raw)
    assert (await message.text(), await message.html()) == (view.body_text, view.body_html)
    parts = await message.parts()
    assert [await part.content() for part in parts] == [view.content(p) for p in view.leaves()]
    assert [part.content_type for part in parts] == [p.content_type for p in view.leaves()]
    assert [await part.text() for part in parts] == [view.text_of(p) for p in view.leaves()]
    for part in parts:
        assert b"".join([piece async for piece in part.stream()]) == await part.content()
        assert await part.read(2, 3) == (await part.content())[2:5]
        found = await message.part(part.number)
        assert found is not None
        assert (
            await found.raw() == await part.raw() == view.body(view.part(part.number) or view.root)
        )
    names = [(name, view.body(part)) for name, part in view.attachments()]
    assert [(a.attachment_name, await a.raw()) for a in await message.attachments()] == names
    assert await message.headers() == [(field.name, field.text) for field in view.fields]
    assert await message.part("7.7") is None


@pytest.mark.parametrize("raw", ALL)
async def test_an_outline_says_what_the_whole_says(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leap.mail.outline.SMALL", -1)
    monkeypatch.setattr("leap.mail.outline.NEAR", 0)
    view = MessageView(raw)

    async def read(start: int, length: int) -> bytes:
        return raw[start : start + length]

    outline = await read_outline(part_tree(view.root), read, texts=True)
    made = outline.message
    assert (made.body_text, made.body_html) == (view.body_text, view.body_html)
    assert [f.raw for f in made.fields] == [f.raw for f in view.fields]
    assert [name for name, _ in made.attachments(nested=True)] == [
        name for name, _ in view.attachments(nested=True)
    ]
    for ours, part in zip(made.root.walk(), view.root.walk(), strict=True):
        place = outline.place(ours)
        assert isinstance(place, PartTree)
        assert (place.header_start, place.body_start, place.end) == (
            part.header_start,
            part.body_start,
            part.end,
        )
        assert (ours.content_type, ours.encoding) == (part.content_type, part.encoding)


async def test_the_envelope_is_told_as_values(account: Account) -> None:
    raw = (
        b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\n"
        b'To: friends: bob@example.test, "Eve \\"E\\" X" <eve@example.test>;, dan@example.test\r\n'
        b"Cc:\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \xc3\xa4\r\nMessage-ID: <1@x>\r\nIn-Reply-To: <0@x> <a@x>\r\n\r\n"
    )
    envelope = await (await stored(account, raw)).envelope()
    assert envelope.date is not None
    assert envelope.date.isoformat() == "2026-11-02T10:00:00+01:00"
    assert envelope.subject == "Grüße ä"
    assert (
        envelope.from_
        == envelope.sender
        == envelope.reply_to
        == (Person("Jürgen", "j@example.test"),)
    )
    assert [str(one) for one in envelope.to] == [
        "bob@example.test",
        'Eve "E" X <eve@example.test>',
        "dan@example.test",
    ]
    assert (envelope.cc, envelope.bcc) == ((), ())
    assert (envelope.message_id, envelope.in_reply_to) == ("<1@x>", ("<0@x>", "<a@x>"))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_any_envelope_that_is_made_is_read(noise: bytes) -> None:
    raw = b"Subject: a\r\nFrom: " + noise + b"\r\nTo: x@y\r\n\r\n"
    view = MessageView(raw)
    envelope = read_envelope(view.envelope)
    assert envelope.subject == view.subject.replace("\0", "")
    read_envelope(noise)  # never raises


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=120)
    | st.text("QUJD+/= \r\n-_\x00", max_size=120).map(str.encode)
    | st.text("ab=3D\r\n \t20", max_size=120).map(str.encode),
    st.lists(st.integers(0, 120), max_size=5),
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "7bit", "odd"]),
)
def test_decoding_piece_by_piece_is_decoding(data: bytes, cuts: list[int], encoding: str) -> None:
    decoder = decoder_for(encoding)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [decoder.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert b"".join([*pieces, decoder.end()]) == decode_transfer(data, encoding)


async def test_a_part_tells_its_name_and_header(account: Account) -> None:
    message = await stored(account, NESTED)
    plain, attached, dot, three = [await message.part(n) for n in ("1", "2", "2.2", "3")]
    assert plain is not None
    assert (plain.is_attachment, plain.name, plain.header("Content-Type")) == (
        False,
        "attachment",
        None,
    )
    assert attached is not None
    assert (attached.attachment_name, attached.content_type) == ("Inner.eml", "message/rfc822")
    assert dot is not None
    assert three is not None
    assert (dot.name, three.name, three.encoding, three.size) == (
        "dot.png",
        "three.bin",
        "base64",
        4,
    )
    assert three.header("content-disposition") == "attachment; filename=three.bin"
    assert repr(three) == "MessagePart('3', 'application/octet-stream', 4 octets)"
    assert await three.raw(1, 2) == b"AE"
    assert (await message.structure()).end == message.size
    assert message.mailbox_id == INBOX
