"""A mail program talks to the local SMTP server: refusals have sentences, and 250 means it is on disk."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from leap.mail.contract import AccountBackend, AccountUnavailable, StorageFull
from leap.mail.outgoing.gateway import gateway_handler
from leap.mail.smtp.contract import SmtpConfig, Timeouts
from leap.mail.smtp.transport import SmtpServer, serve_smtp
from leap.soledad.wire import MAX_MESSAGE_BYTES
from tests.mail.smtp.swaks import swaks
from tests.mail.travel import DOMAIN, Person, mail

T = TypeVar("T")
ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"


class Sessions:
    """Accounts by address, one app password for all."""

    def __init__(self, *people: Person) -> None:
        self.accounts: dict[str, AccountBackend] = {one.address: one.account for one in people}

    async def authenticate(self, user: str, password: str) -> AccountBackend | None:
        return self.accounts.get(user) if password == "right" else None


@pytest.fixture
async def server(alice: Person, bob: Person) -> AsyncIterator[SmtpServer]:
    sessions = Sessions(alice, bob)
    config = SmtpConfig(
        hostname="localhost",
        max_size=MAX_MESSAGE_BYTES,
        auth="required",
        auth_needs_tls=False,
        timeouts=Timeouts(auth_failure=0.0, shutdown=1.0),
    )
    server = await serve_smtp(lambda: gateway_handler(sessions), config)
    yield server
    await server.close()


async def talk(server: SmtpServer, job: Callable[[smtplib.SMTP], T], user: str = ALICE) -> T:
    def run() -> T:
        host, port = server.address[:2]
        with smtplib.SMTP(str(host), int(port), timeout=10) as client:
            client.login(user, "right")
            return job(client)

    return await asyncio.to_thread(run)


async def test_a_mail_program_sends_and_bob_reads_the_same_bytes(
    server: SmtpServer, alice: Person, bob: Person
) -> None:
    raw = mail(body=b".leading dot\r\n\xe4\xf6\r\n")
    refused = await talk(server, lambda c: c.sendmail(ALICE, [BOB], raw, ["BODY=8BITMIME"]))
    assert refused == {}
    (entry,) = await alice.outgoing.entries()
    assert (entry.state, entry.recipients, entry.subject) == ("queued", (BOB,), "The secret plan")
    await alice.sender.process_due()
    await bob.incoming.process_once()
    assert (await bob.messages())[0].endswith(raw)


async def test_another_sender_is_refused_at_mail_from_with_the_right_address(
    server: SmtpServer,
) -> None:
    code, reply = await talk(server, lambda c: (c.ehlo(), c.mail(BOB))[1])
    assert (code, reply) == (550, f"5.7.1 This account sends as {ALICE} only.".encode())
    assert (await talk(server, lambda c: (c.ehlo(), c.mail("alice+x@example.test"))[1]))[0] == 250


async def test_an_alias_is_accepted_at_mail_from_and_another_sender_hears_all_addresses(
    server: SmtpServer, alice: Person
) -> None:
    await alice.outgoing.identities.keep_aliases(["sales@example.test"])
    assert (await talk(server, lambda c: (c.ehlo(), c.mail("sales+x@example.test"))[1]))[0] == 250
    code, reply = await talk(server, lambda c: (c.ehlo(), c.mail(BOB))[1])
    assert code == 550
    assert reply.endswith(b"sends as alice@example.test and sales@example.test only.")


async def test_another_from_is_refused_with_the_right_address(server: SmtpServer) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        await talk(server, lambda c: c.sendmail(ALICE, [BOB], mail(sender=BOB)))
    assert refusal.value.smtp_code == 550
    assert ALICE.encode() in refusal.value.smtp_error


async def test_policy_speaks_with_one_sentence(server: SmtpServer, alice: Person) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        await talk(server, lambda c: c.sendmail(ALICE, [BOB, "eve@elsewhere.test"], mail()))
    assert refusal.value.smtp_code == 550
    assert b"no key was found for eve@elsewhere.test" in refusal.value.smtp_error
    assert await alice.outgoing.entries() == []


async def test_too_large_is_552(server: SmtpServer, alice: Person) -> None:
    def announce(client: smtplib.SMTP) -> tuple[int, bytes]:
        client.ehlo()
        return client.mail(ALICE, [f"size={60 * 1024 * 1024}"])

    assert (await talk(server, announce))[0] == 552
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        await talk(server, lambda c: c.sendmail(ALICE, [BOB], _big()))
    assert refusal.value.smtp_code == 552
    assert b"36 MiB" in refusal.value.smtp_error


def _big() -> bytes:
    return mail(body=(b"x" * 78 + b"\r\n") * (37 * 1024 * 1024 // 80))


@pytest.mark.parametrize(
    ("failure", "code"), [(StorageFull("full"), 452), (AccountUnavailable("locked"), 451)]
)
async def test_a_failure_here_is_a_4xx_and_nothing_is_accepted(
    server: SmtpServer,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    code: int,
) -> None:
    async def fail(*_: object) -> str:
        raise failure

    monkeypatch.setattr(alice.account, "submit", fail)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        await talk(server, lambda c: c.sendmail(ALICE, [BOB], mail()))
    assert refusal.value.smtp_code == code


async def test_wrong_password_and_recipients_without_domain(server: SmtpServer) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await talk(server, lambda c: c.sendmail(ALICE, ["bob"], mail()))

    def wrong() -> None:
        host, port = server.address[:2]
        with smtplib.SMTP(str(host), int(port), timeout=10) as client:
            client.login(ALICE, "wrong")

    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(wrong)


async def test_swaks_sends_and_is_refused_as_others_are(server: SmtpServer, alice: Person) -> None:
    login = ["--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", "right"]
    code, said = await swaks(server, "--from", ALICE, "--to", BOB, *login, "--pipeline")
    assert code == 0, said
    (entry,) = await alice.outgoing.entries()
    assert entry.recipients == (BOB,)
    code, said = await swaks(server, "--from", BOB, "--to", ALICE, *login)
    assert (code, f"550 5.7.1 This account sends as {ALICE} only." in said) == (23, True), said
