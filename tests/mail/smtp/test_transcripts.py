"""Conversations as they go over the wire, in transcripts/*.txt. Each is held three times: what the client
sends between two replies comes at once, line by line, and octet by octet.

    # a comment                                   config: tls lmtp auth=optional size=2000 usual-limits ...
    C: a line of the client, CR LF is added       C' octets as in a Python bytes literal, nothing added
    S: a line of the server, exactly              S: ... any lines, up to the next one that is written
    M: sender > recipient,recipient > octets of the mail     END: the server has closed
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from leap.mail.smtp import Limits, SmtpConfig
from tests.mail.smtp.conversation import SMALL_LIMITS, Conversation, config, cut, tls_context

FOLDER = Path(__file__).parent / "transcripts"
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 15


def settings(line: str) -> SmtpConfig:
    changes: dict[str, object] = {"limits": SMALL_LIMITS}
    for word in line.split():
        name, _, value = word.partition("=")
        if name == "tls":
            changes["tls"] = tls_context()
        elif name == "usual-limits":
            changes["limits"] = Limits()
        elif name == "copied":
            changes["limits"] = Limits(copied=int(value))
        elif name == "auth":
            changes["auth"] = value
        elif name == "size":
            changes["max_size"] = int(value)
        else:
            changes[{"clear-auth": "auth_needs_tls", "ids": "submission_ids"}.get(name, name)] = (
                name != "clear-auth"
            )
    return config(**changes)


def literal(text: str) -> bytes:
    value = ast.literal_eval("b'''" + text.replace("'''", "\\'\\'\\'") + "'''")
    assert isinstance(value, bytes)
    return value


def pieces(data: bytes, how: str) -> list[bytes]:
    if how == "octets":
        return cut(data, range(len(data)))
    if how == "lines":
        return [piece for piece in re.split(rb"(?<=\n)", data) if piece]
    return [data]


@pytest.mark.parametrize("how", ["at once", "lines", "octets"])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, how: str) -> None:
    lines = path.read_text().splitlines()
    first = next((line for line in lines if line.startswith("config:")), "config:")
    talk = Conversation(settings(first.removeprefix("config:")))
    unread = talk.said
    to_send = b""
    skipping = False
    mails = 0
    for number, line in enumerate(lines, 1):
        place = f"{path.name}:{number}"
        if not line or line.startswith(("#", "config:")):
            continue
        if line.startswith(("C:", "C'")):
            if line.startswith("C:"):
                to_send += line[2:].removeprefix(" ").encode() + b"\r\n"
            else:
                to_send += literal(line[2:].removeprefix(" "))
            continue
        if to_send:
            assert unread == b"", f"{place}: the server said more: {unread!r}"
            unread = talk.hear(*pieces(to_send, how))
            to_send = b""
        if line == "S: ...":
            skipping = True
        elif line.startswith("S:"):
            wanted = line[3:].encode() + b"\r\n"
            if skipping:
                unread = unread[unread.index(wanted) :] if wanted in unread else unread
            assert unread.startswith(wanted), f"{place}: the server said {unread!r}"
            unread = unread[len(wanted) :]
            skipping = False
        elif line.startswith("M:"):
            sender, recipients, raw = (part.strip(" ") for part in line[2:].split(" > "))
            wanted_mail = (sender, tuple(recipients.split(",")), literal(raw))
            assert talk.handler.mails[mails] == wanted_mail, place
            mails += 1
        elif line == "END":
            assert talk.closed, f"{place}: the server did not close"
        else:
            pytest.fail(f"{place} cannot be read")
    assert not to_send, "the transcript ends with the client speaking"
    assert unread == b""
    assert mails == len(talk.handler.mails)
    assert talk.closed == (lines[-1] == "END")
