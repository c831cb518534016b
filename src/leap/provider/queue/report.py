"""The reports a sender gets of mail that failed, takes long, or went on (RFC 3464 in RFC 6522's multipart/report).

Pure: values in, the octets of a mail out. Nothing the other server said can end a line or a part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from leap.mail.delivery_wishes import DeliveryWishes
from leap.provider.queue.storage import Outcome

MAX_HEADER = 64 * 1024  # octets of the original header that are quoted
MAX_RETURNED = 8 * 1024 * 1024  # octets of an original that is given back whole
_STATUS = re.compile(r"[0-9]{3}[ -]([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")  # RFC 3463 2
_MESSAGE_ID = re.compile(rb"(?:^|\r\n)message-id:[ \t]*(<[!-~]{1,900}>)[ \t]*(?:\r\n|$)", re.I)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")

ReportAction = Literal["failed", "delayed", "relayed", "delivered"]  # RFC 3464 2.3.3


@dataclass(frozen=True, slots=True)
class _Words:
    subject: str
    opening: str
    ending: str
    status: str  # where the answer tells none


_WORDS: dict[ReportAction, _Words] = {
    "failed": _Words(
        "Mail could not be delivered",
        "Your mail could not be delivered to:",
        "The mail will not be tried again.",
        "5.0.0",
    ),
    "delayed": _Words(
        "Mail is delayed",
        "Your mail could not be delivered yet to:",
        "It is still being tried. You need not send it again.",
        "4.0.0",
    ),
    "relayed": _Words(
        "Mail was passed on",
        "Your mail was passed on to a server that does not confirm delivery, for:",
        "You may hear nothing more of it.",
        "2.0.0",
    ),
    "delivered": _Words("Mail was delivered", "Your mail was delivered to:", "", "2.0.0"),
}


def status_report(
    action: ReportAction,
    *,
    hostname: str,
    domain: str,
    sender: str,
    raw: bytes,
    wishes: DeliveryWishes,
    created: float,
    recipients: Mapping[str, Outcome],
    now: float,
    report_id: str,
    retried_until: float | None = None,
) -> bytes:
    """A mail to `sender` that says what became of each recipient, with the original's header.

    The whole original comes back only of a failure, and where the sender wants it (RFC 3461 4.3).
    `report_id` makes Message-ID and boundary; it must not occur in the original.
    """
    words = _WORDS[action]
    header = raw.partition(b"\r\n\r\n")[0][:MAX_HEADER]
    boundary = f"=_report_{report_id}"
    original_id = _MESSAGE_ID.search(header)
    lines = [
        f"From: Mail Delivery <mailer-daemon@{domain}>",
        f"To: <{sender}>",
        f"Subject: {words.subject}",
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
        *_words(words, recipients, hostname),
        "",
        f"--{boundary}",
    ]
    status = [f"Reporting-MTA: dns; {hostname}"]
    if wishes.envelope_id:  # RFC 3464 2.2.1: only what the sender gave
        status.insert(0, f"Original-Envelope-Id: {_one_line(wishes.envelope_id)}")
    status += [f"Arrival-Date: {formatdate(created)}", ""]
    for recipient, outcome in recipients.items():
        original = wishes.notice(recipient).original
        status += [*_status_fields(action, recipient, original, outcome, now)]
        if action == "delayed" and retried_until is not None:
            status += [f"Will-Retry-Until: {formatdate(retried_until)}"]
        status += [""]
    international = "message/global-delivery-status"
    lines += _type("message/delivery-status", international, _encoded(status))
    lines += [*status, f"--{boundary}"]
    if action == "failed" and wishes.returned == "FULL" and len(raw) <= MAX_RETURNED:
        original_mail = raw
        lines += _type("message/rfc822", "message/global", raw)
    else:
        original_mail = header
        lines += _type("text/rfc822-headers", "message/global-headers", header)
    end = b"\r\n\r\n--" + boundary.encode() + b"--\r\n"
    return b"".join((_encoded(lines), b"\r\n", original_mail, end))


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


def _words(words: _Words, recipients: Mapping[str, Outcome], hostname: str) -> list[str]:
    lines = [words.opening, ""]
    for recipient, outcome in recipients.items():
        lines += [f"  {recipient}", *([f"    {outcome.answer}"] if outcome.answer else []), ""]
    return [*lines, f"This report was written by {hostname}. {words.ending}".rstrip()]


def _status_fields(
    action: ReportAction, recipient: str, original: str, outcome: Outcome, now: float
) -> list[str]:
    kind = "rfc822" if recipient.isascii() else "utf-8"  # RFC 6533 3
    fields = []
    if original:  # RFC 3464 2.3.1, from ORCPT
        original_kind, _, address = _one_line(original).partition(";")
        fields += [f"Original-Recipient: {original_kind}; {address}"]
    fields += [
        f"Final-Recipient: {kind}; {recipient}",
        f"Action: {action}",
        f"Status: {status_of(outcome.answer, _WORDS[action].status)}",
        f"Last-Attempt-Date: {formatdate(now)}",
    ]
    if outcome.remote:
        fields += [
            f"Remote-MTA: dns; {outcome.remote}",
            f"Diagnostic-Code: smtp; {outcome.answer}",
        ]
    return fields


def _one_line(text: str) -> str:
    return _UNSAFE.sub(" ", text)


def status_of(answer: str, otherwise: str = "5.0.0") -> str:
    """The enhanced code of an answer, in the class of `otherwise` in any case."""
    match = _STATUS.match(answer)
    return otherwise if match is None else otherwise[0] + match[1][1:]


def report_once(mail: str, action: str, recipients: Iterable[str]) -> str:
    """The submission id of a report: a second one of the same thing is left out."""
    names = "\0".join([mail, action, *recipients])
    return f"report/{hashlib.sha256(names.encode()).hexdigest()}"
