"""The report a sender gets when mail could not be delivered (RFC 3464 in RFC 6522's multipart/report).

Pure: values in, the octets of a mail out. Nothing the other server said can end a line or a part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate

from leap.provider.queue.storage import Outcome

MAX_HEADER = 64 * 1024  # octets of the original header that are quoted
_STATUS = re.compile(r"[0-9]{3}[ -]([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")  # RFC 3463 2
_MESSAGE_ID = re.compile(rb"(?:^|\r\n)message-id:[ \t]*(<[!-~]{1,900}>)[ \t]*(?:\r\n|$)", re.I)


def failure_report(
    *,
    hostname: str,
    domain: str,
    sender: str,
    raw: bytes,
    submission_id: str,
    created: float,
    failures: Mapping[str, Outcome],
    now: float,
    report_id: str,
) -> bytes:
    """A mail to `sender` that names each failed recipient and why, with the original's header.

    `report_id` makes Message-ID and boundary; it must not occur in the original.
    """
    header = raw.partition(b"\r\n\r\n")[0][:MAX_HEADER]
    boundary = f"=_report_{report_id}"
    original_id = _MESSAGE_ID.search(header)
    lines = [
        f"From: Mail Delivery <mailer-daemon@{domain}>",
        f"To: <{sender}>",
        "Subject: Mail could not be delivered",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{report_id}@{hostname}>",
    ]
    if original_id:
        lines += [f"In-Reply-To: {original_id[1].decode()}"]
    lines += [
        "Auto-Submitted: auto-replied",  # RFC 3834 5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *_words(failures, hostname),
        "",
        f"--{boundary}",
    ]
    status = [
        f"Reporting-MTA: dns; {hostname}",
        f"Original-Envelope-Id: {submission_id}",
        f"Arrival-Date: {formatdate(created)}",
        "",
    ]
    for recipient, outcome in failures.items():
        status += [*_status_fields(recipient, outcome, now), ""]
    lines += _type("message/delivery-status", "message/global-delivery-status", _encoded(status))
    lines += [*status, f"--{boundary}"]
    lines += _type("text/rfc822-headers", "message/global-headers", header)
    end = b"\r\n\r\n--" + boundary.encode() + b"--\r\n"
    return b"".join((_encoded(lines), b"\r\n", header, end))


def _encoded(lines: list[str]) -> bytes:
    return "\r\n".join(lines).encode("utf-8")


def _type(plain: str, international: str, body: bytes) -> list[str]:
    """The header of a part, of the second type where it holds UTF-8 (RFC 6533 4.1), of the first else."""
    if body.isascii():
        return [f"Content-Type: {plain}", ""]
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        international = plain  # an old charset, unlabelled
    return [f"Content-Type: {international}", "Content-Transfer-Encoding: 8bit", ""]


def _words(failures: Mapping[str, Outcome], hostname: str) -> list[str]:
    lines = [
        "Your mail could not be delivered to:",
        "",
    ]
    for recipient, outcome in failures.items():
        lines += [f"  {recipient}", f"    {outcome.answer}", ""]
    return [*lines, f"This report was written by {hostname}. The mail will not be tried again."]


def _status_fields(recipient: str, outcome: Outcome, now: float) -> list[str]:
    kind = "rfc822" if recipient.isascii() else "utf-8"  # RFC 6533 3
    fields = [
        f"Final-Recipient: {kind}; {recipient}",
        "Action: failed",
        f"Status: {status_of(outcome.answer)}",
        f"Last-Attempt-Date: {formatdate(now)}",
    ]
    if outcome.remote:
        fields += [
            f"Remote-MTA: dns; {outcome.remote}",
            f"Diagnostic-Code: smtp; {outcome.answer}",
        ]
    return fields


def status_of(answer: str) -> str:
    """The enhanced code of an answer, a permanent one in any case."""
    match = _STATUS.match(answer)
    if match is None:
        return "5.0.0"
    code = match[1]
    return code if code.startswith("5") else "5" + code[1:]
