"""The report a person finds in INBOX when a mail could not be delivered (RFC 3464 in a RFC 6522 multipart/report).

Addresses that are not ASCII stand in it as they are, in the types of RFC 6533.

Invariant: it holds the header of the mail, never its body, and it is made and kept on this device only; what
a server said is shown as text and cannot become a header field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate

from leap.mail.message.compose import (
    address_field,
    entity,
    field,
    message_id,
    multipart_entity,
    text_entity,
)
from leap.mail.outgoing.addresses import domain_of
from leap.mail.outgoing.field_lines import join_fields, split_header, values_of
from leap.mail.outgoing.outbox_entries import Entry, RecipientState

MAX_HEADER = 64 * 1024  # octets of the original header in a report
MAX_REPLY = 600  # our own sentences, which say what to do, have up to 500
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463
_UNPRINTABLE = re.compile(r"[^ -~]+")


def delivery_report(entry: Entry, failed: Sequence[RecipientState], *, now: float) -> bytes:
    """A report to the sender of `entry` about the recipients whose delivery failed for good."""
    domain = domain_of(entry.sender) or "localhost"
    sentence = "This mail was not delivered to:" if failed else "This mail was not delivered."
    lines = [sentence, ""]
    for one in failed:
        lines += [
            f"    {_shown(one.address)}",
            f"        {_shown(one.reply) or 'no reason was given'}",
        ]
    delivered = [one.address for one in entry.recipients if one.state == "sent"]
    if delivered:
        lines += ["", "It was handed on to:", "", *(f"    {_shown(one)}" for one in delivered)]
    if entry.subject:
        lines += ["", f"Its subject was: {entry.subject}"]
    lines += [
        "",
        "It is not tried again; its header is attached. Your mail program has the text you wrote.",
        "",
    ]
    fields, _ = split_header(entry.message)
    header = (b"".join(entry.added) + join_fields(fields))[:MAX_HEADER]
    if not header.endswith(b"\r\n"):
        header += b"\r\n"
    original_id = values_of(fields, "message-id")
    reference = _plain(original_id[0].decode("latin-1")) if original_id else entry.message_id
    status = _status(entry, failed, domain)
    return multipart_entity(
        "report",
        [
            text_entity("\r\n".join(lines)),
            _part("message/delivery-status", "message/global-delivery-status", status),
            _part("text/rfc822-headers", "message/global-headers", header),
        ],
        params={"report-type": "delivery-status"},
        fields=[
            address_field("From", [("Mail delivery", f"MAILER-DAEMON@{domain}")]),
            address_field("To", [("", entry.sender)], utf8=True),
            field(
                "Subject",
                f"Not delivered: {_shown(entry.subject)}" if entry.subject else "Not delivered",
            ),
            field("Date", formatdate(int(now))),
            field("Message-ID", message_id(domain)),
            field("In-Reply-To", reference[:900]),
            field("Auto-Submitted", "auto-replied"),  # RFC 3834 5
            field("MIME-Version", "1.0"),
        ],
    )


def _part(plain: str, international: str, body: bytes) -> bytes:
    """A part of the second type where it holds UTF-8 (RFC 6533 4.1), of the first else."""
    try:
        body.decode("utf-8")
        kind = plain if body.isascii() else international
    except UnicodeDecodeError:
        kind = plain  # an old charset, unlabelled
    encoding = field("Content-Transfer-Encoding", "7bit" if body.isascii() else "8bit")
    return entity([field("Content-Type", kind), encoding], body)


def _status(entry: Entry, failed: Sequence[RecipientState], domain: str) -> bytes:
    """RFC 3464 2.1: one block about the message, one about each recipient.

    ASCII, unless an address is not: then UTF-8, of address type "utf-8" (RFC 6533 3).
    """
    lines = [
        f"Reporting-MTA: dns; {domain}",
        f"Arrival-Date: {formatdate(int(entry.created))}",
    ]
    for one in failed:
        enhanced = _ENHANCED.search(one.reply)
        status = enhanced[1] if enhanced and enhanced[1][0] == "5" else "5.0.0"
        kind = "rfc822" if one.address.isascii() else "utf-8"
        lines += [
            "",
            f"Final-Recipient: {kind}; {_shown(one.address)}",
            "Action: failed",
            f"Status: {status}",
            f"Diagnostic-Code: smtp; {one.code or 550} {_plain(one.reply)}".rstrip(),
        ]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_REPLY]


def _shown(text: str) -> str:
    """One line of text for people, in any script."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:MAX_REPLY]
