"""What mail programs make of it: a report shows as one, and Sent has one copy, also of programs that put one there."""

from __future__ import annotations

import asyncio
import email
import imaplib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from leap.mail.contract import AccountBackend
from leap.mail.imap import ImapServer, serve_imap
from tests.conftest import needs_program
from tests.mail.imap.test_peers import on_a_terminal
from tests.mail.travel import DOMAIN, Person, mail

T = TypeVar("T")
ALICE, BOB, FAY = f"alice@{DOMAIN}", f"bob@{DOMAIN}", "fay@elsewhere.test"


@pytest.fixture
async def server(alice: Person) -> AsyncIterator[ImapServer]:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return alice.account if (user, password) == (ALICE, "right") else None

    server = await serve_imap(authenticate)
    yield server
    await server.close()


async def talk(server: ImapServer, job: Callable[[imaplib.IMAP4], T]) -> T:
    def run() -> T:
        with imaplib.IMAP4("127.0.0.1", int(server.address[1]), timeout=20) as client:
            client.login(ALICE, "right")
            return job(client)

    return await asyncio.to_thread(run)


def fetched(client: imaplib.IMAP4, mailbox: str, what: str) -> list[bytes]:
    client.select(mailbox)
    _, data = client.fetch("1:*", what)
    return [b"".join(one) if isinstance(one, tuple) else one for one in data if one is not None]


def bodies(client: imaplib.IMAP4, mailbox: str) -> list[bytes]:
    client.select(mailbox)
    _, data = client.fetch("1:*", "(BODY.PEEK[])")
    return [one[1] for one in data if isinstance(one, tuple)]


async def refused(alice: Person) -> None:
    """A mail of which one recipient is refused for good by the provider."""
    alice.provider.replies[FAY] = (550, "5.1.1 No such user here")
    await alice.outgoing.submit(mail(to=FAY), ALICE, [FAY])
    await alice.sender.process_due()


async def test_a_report_has_the_structure_that_programs_look_for(
    alice: Person, server: ImapServer
) -> None:
    await refused(alice)
    (structure,) = await talk(server, lambda c: fetched(c, "INBOX", "(BODYSTRUCTURE)"))
    structure = structure.upper()
    assert b'"REPORT" ("REPORT-TYPE" "DELIVERY-STATUS"' in structure
    order = [b'"TEXT" "PLAIN"', b'"MESSAGE" "DELIVERY-STATUS"', b'"TEXT" "RFC822-HEADERS"']
    places = [structure.index(one) for one in order]
    assert places == sorted(
        places
    )  # RFC 6522 3: what people read, what programs read, what came back


async def test_a_report_reads_as_rfc_3464_says(alice: Person, server: ImapServer) -> None:
    await refused(alice)
    (raw,) = await talk(server, lambda c: bodies(c, "INBOX"))
    report = email.message_from_bytes(raw)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["In-Reply-To"] == "<plan@example.test>"
    words, status, header = report.get_payload()  # type: ignore[misc]
    assert FAY in words.get_payload(decode=True).decode()  # type: ignore[union-attr]
    message, recipient = status.get_payload()  # type: ignore[union-attr, misc]
    assert message["Reporting-MTA"] == f"dns; {DOMAIN}"
    assert message["Arrival-Date"]
    assert recipient["Final-Recipient"] == f"rfc822; {FAY}"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user here"
    returned = email.message_from_string(header.get_payload())  # type: ignore[union-attr]
    assert returned["Message-ID"] == "<plan@example.test>"
    assert returned["Subject"] == "The secret plan"
    assert b"Hello Bob" not in raw


async def test_neomutt_shows_a_report_with_all_it_says(
    alice: Person, server: ImapServer, tmp_path: Path
) -> None:
    neomutt = needs_program("neomutt")
    await refused(alice)
    shown = tmp_path / "shown"
    config = tmp_path / "neomuttrc"
    config.write_text(
        f"""
set imap_user="{ALICE}" imap_pass="right"
set ssl_force_tls=no ssl_starttls=no
set folder="imap://127.0.0.1:{server.address[1]}/" spoolfile="+INBOX"
set wait_key=no quit=yes move=no mail_check=0 sleep_time=0
set print=yes print_decode=yes print_command="cat > {shown}"
"""
    )
    keys = "<last-entry><print-message><quit>"
    await on_a_terminal([neomutt, "-n", "-F", str(config), "-e", f'push "{keys}"'], tmp_path)
    text = shown.read_text()
    assert "Subject: Not delivered: The secret plan" in text
    assert "This mail was not delivered to:" in text
    assert f"Final-Recipient: rfc822; {FAY}" in text
    assert "5.1.1 No such user here" in text


@pytest.mark.parametrize("first", ["the program", "the outbox"])
async def test_a_program_that_puts_its_copy_into_sent_makes_no_second_one(
    alice: Person, bob: Person, server: ImapServer, first: str
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    if first == "the outbox":
        await alice.sender.process_due()
    own = b"Bcc: dave@example.test\r\n" + mail()

    def append(client: imaplib.IMAP4) -> bytes:
        status, data = client.append("Sent", "(\\Seen)", "", own)
        assert status == "OK"
        return bytes(data[0])

    said = await talk(server, append)
    await alice.sender.process_due()
    (copy,) = await talk(server, lambda c: bodies(c, "Sent"))
    assert copy == (
        f"X-Leap-Sent: state=sent; how=encrypted; code=250; to={BOB}\r\n".encode() + own
    )
    if first == "the outbox":  # APPENDUID names what is there (RFC 4315 3)
        uid = re.search(rb"APPENDUID \d+ (\d+)", said)
        assert uid is not None
        (found,) = await talk(server, lambda c: fetched(c, "Sent", "(UID)"))
        assert b"UID " + uid[1] in found
