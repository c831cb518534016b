"""Trace fields (RFC 5321 4.4): the Return-Path and Received lines put in front of a mail.

Pure. Nothing a client said can end a field: what it called itself is reduced to harmless characters.
"""

from __future__ import annotations

import re
from email.utils import formatdate

from leap.mail.smtp import Session

MAX_HOPS = 100  # RFC 5321 6.3: more Received fields than this are a loop
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_RECEIVED = re.compile(rb"(?:^|\r\n)received[ \t]*:", re.IGNORECASE)
_END_OF_HEADER = re.compile(rb"\r\n\r\n|\A\r\n")


def return_path(sender: str) -> bytes:
    """The field final delivery adds; "" is the null sender."""
    return f"Return-Path: <{sender}>\r\n".encode()


def received(
    session: Session,
    *,
    by: str,
    mail_id: str,
    now: float,
    recipient: str | None = None,
    smtputf8: bool = False,
    hide_client: bool = False,
) -> bytes:
    """One Received field. `hide_client` leaves out where the mail came from: a person's own address
    on the network is nobody's business."""
    protocol = session.protocol
    if smtputf8:
        protocol = "UTF8" + protocol.removeprefix("E")  # RFC 6531 4.3: UTF8SMTP, UTF8LMTPS ...
    lines = [f"by {by} with {protocol} id {mail_id}"]
    if not hide_client:
        lines.insert(0, f"from {_name(session.helo)} ({_literal(session.peer)})")
    if recipient is not None:
        lines.append(f"for <{recipient}>")
    lines[-1] += ";"
    lines.append(formatdate(now))
    return ("Received: " + "\r\n\t".join(lines) + "\r\n").encode()


def hops(raw: bytes) -> int:
    """How many Received fields the header of a mail holds."""
    end = _END_OF_HEADER.search(raw)
    return len(_RECEIVED.findall(raw, 0, end.start() if end else len(raw)))


def _name(helo: str) -> str:
    return _NOT_IN_NAMES.sub("_", helo)[:255] or "unknown"


def _literal(peer: str) -> str:
    if not peer:
        return "local"
    return f"[IPv6:{peer.partition('%')[0]}]" if ":" in peer else f"[{peer}]"
