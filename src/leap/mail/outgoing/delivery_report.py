"""The report a person finds in INBOX when a mail failed or takes long (RFC 3464 in a RFC 6522 multipart/report).

Addresses that are not ASCII stand in it as they are, in the types of RFC 6533.

Invariant: it holds the header of the mail, and its body only where the sender asked for it back (RFC 3461 4.3);
it is made and kept on this device only; what a server said is shown as text and cannot become a header field.
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
MAX_RETURNED = 8 * 1024 * 1024  # octets of an original that is given back whole
MAX_REPLY = 600  # our own sentences, which say what to do, have up to 500
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463
_UNPRINTABLE = re.compile(r"[^ -~]+")


def delivery_report(
    entry: Entry, about: Sequence[RecipientState], *, now: float, delayed: bool = False
) -> bytes:
    """A report to the sender of `entry` about the recipients whose delivery failed for good, or takes long."""
    domain = domain_of(entry.sender) or "localhost"
    yet = " yet" if delayed else ""
    lines = [f"This mail was not delivered{yet}{' to:' if about else '.'}", ""]
    for one in about:
        lines += [
            f"    {_shown(one.address)}",
            f"        {_shown(one.reply) or 'no reason was given'}",
        ]
    delivered = [one.address for one in entry.recipients if one.state == "sent"]
    if delivered:
        lines += ["", "It was handed on to:", "", *(f"    {_shown(one)}" for one in delivered)]
    if entry.subject:
        lines += ["", f"Its subject was: {entry.subject}"]
    if delayed:
        lines += ["", "It is still being tried; you need not send it again.", ""]
    else:
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
    status = _status(entry, about, domain, delayed)
    returned = _part("text/rfc822-headers", "message/global-headers", header)
    if entry.wishes.returned == "FULL" and not delayed and len(entry.message) <= MAX_RETURNED:
        whole = b"".join(entry.added) + entry.message
        returned = _part("message/rfc822", "message/global", whole)
    subject = "Not delivered yet" if delayed else "Not delivered"
    return multipart_entity(
        "report",
        [
            text_entity("\r\n".join(lines)),
            _part("message/delivery-status", "message/global-delivery-status", status),
            returned,
        ],
        params={"report-type": "delivery-status"},
        fields=[
            address_field("From", [("Mail delivery", f"MAILER-DAEMON@{domain}")]),
            address_field("To", [("", entry.sender)], utf8=True),
            field(
                "Subject",
                f"{subject}: {_shown(entry.subject)}" if entry.subject else subject,
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


def _status(entry: Entry, about: Sequence[RecipientState], domain: str, delayed: bool) -> bytes:
    """RFC 3464 2.1: one block about the message, one about each recipient.

    ASCII, unless an address is not: then UTF-8, of address type "utf-8" (RFC 6533 3).
    """
    given, action, digit = entry.wishes.envelope_id, "failed", "5"
    if delayed:
        action, digit = "delayed", "4"
    lines = [
        *([f"Original-Envelope-Id: {_plain(given)}"] if given else []),
        f"Reporting-MTA: dns; {domain}",
        f"Arrival-Date: {formatdate(int(entry.created))}",
    ]
    for one in about:
        enhanced = _ENHANCED.search(one.reply)
        status = enhanced[1] if enhanced and enhanced[1][0] == digit else f"{digit}.0.0"
        kind = "rfc822" if one.address.isascii() else "utf-8"
        named, _, original = entry.wishes.notice(one.address).original.partition(";")
        lines += [
            "",
            *([f"Original-Recipient: {_plain(named)}; {_shown(original)}"] if original else []),
            f"Final-Recipient: {kind}; {_shown(one.address)}",
            f"Action: {action}",
            f"Status: {status}",
        ]
        if not delayed:
            code = one.code or 550
            lines += [f"Diagnostic-Code: smtp; {code} {_plain(one.reply)}".rstrip()]
        else:
            lines += [f"Will-Retry-Until: {formatdate(int(entry.expires))}"]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_REPLY]


def _shown(text: str) -> str:
    """One line of text for people, in any script."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:MAX_REPLY]
