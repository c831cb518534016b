"""What alice and bob write, and how their mail programs send and read it: plain SMTP and IMAP."""

from __future__ import annotations

import email
import email.policy
import email.utils
import imaplib
import smtplib
import time
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

ARRIVAL_TIMEOUT = 60.0  # seconds a mail may take before the demo calls it lost
POLL = 0.05  # seconds between two looks into the mailbox

Server = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """`answers`: the Message-ID of the mail it is an answer to."""

    sender: str
    recipient: str
    subject: str
    text: str
    answers: str = ""

    def message(self) -> EmailMessage:
        message = EmailMessage(policy=email.policy.SMTP)
        message["From"] = self.sender
        message["To"] = self.recipient
        message["Subject"] = self.subject
        message["Date"] = email.utils.formatdate(localtime=True)
        message["Message-ID"] = email.utils.make_msgid(domain=self.sender.partition("@")[2])
        if self.answers:
            message["In-Reply-To"] = message["References"] = self.answers
        message.set_content(self.text)
        return message


@dataclass(frozen=True)
class Received:
    subject: str
    text: str
    encryption: str
    signature: str


def send(letter: Letter, server: Server) -> str:
    """Hands the letter to the local SMTP server, as a mail program does; answers its Message-ID."""
    message = letter.message()
    with smtplib.SMTP(server["host"], server["port"], timeout=30) as smtp:
        smtp.login(server["user"], server["password"])
        smtp.send_message(message)
    return str(message["Message-ID"])


def read(message_id: str, server: Server) -> Received | None:
    """Waits for the mail in the INBOX of the local IMAP server; None if it does not come in time."""
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    with imaplib.IMAP4(server["host"], server["port"], timeout=30) as imap:
        imap.login(server["user"], server["password"])
        imap.select("INBOX")
        while time.monotonic() < deadline:
            _, found = imap.search(None, "HEADER", "Message-ID", f'"{message_id}"')
            if found and found[0]:
                _, data = imap.fetch(found[0].split()[-1].decode(), "(BODY[])")
                for part in data:
                    if isinstance(part, tuple):
                        return _received(part[1])
            time.sleep(POLL)
            imap.noop()
    return None


def _received(raw: bytes) -> Received:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    body = message.get_body(("plain",))
    return Received(
        subject=str(message["Subject"]),
        text=body.get_content() if body is not None else "",
        encryption=str(message.get("X-Leap-Encryption", "")),
        signature=str(message.get("X-Leap-Signature", "")),
    )
