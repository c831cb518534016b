"""The services, with mail programs of the standard library. Run by trial: test_trial.py does."""

from __future__ import annotations

import imaplib
import smtplib
from pathlib import Path

from twisted.application.service import IService, MultiService
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from leap.mail import Account as AsyncAccount
from leap.mail.memory import MemoryAccount
from leap.mail.twisted import Account, ImapService, Logins, SmtpService
from leap.mail.twisted.bridge import run
from tests.twisted.making import ALICE, RAW, open_store

timeout = 30  # seconds, of each test
PASSWORD = "for mail programs"


def read_subjects(address: tuple[str, int]) -> list[bytes]:
    with imaplib.IMAP4(*address, timeout=10) as client:
        client.login(ALICE, PASSWORD)
        client.select("INBOX")
        _, [numbers] = client.search(None, "ALL")
        texts = [client.fetch(number.decode(), "BODY[TEXT]")[1][0] for number in numbers.split()]
        return [text[1] for text in texts if isinstance(text, tuple)]


def log_in(address: tuple[str, int], password: str) -> str:
    with imaplib.IMAP4(*address, timeout=10) as client:
        return str(client.login(ALICE, password)[0])


def send(address: tuple[str, int]) -> None:
    with smtplib.SMTP(*address, timeout=10) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, ["bob@example.test"], RAW.replace(b"bob", b"alice"))


class Imap(TestCase):
    """IMAP on a real store."""

    async def setUp(self) -> None:
        self.account = Account(AsyncAccount(await run(open_store(Path(self.mktemp())))))
        self.addCleanup(self.account.close)
        self.logins = Logins()
        self.logins.add(self.account, PASSWORD)

    async def started(self, service: ImapService) -> tuple[str, int]:
        await service.startService()
        self.addCleanup(service.stopService)
        assert isinstance(service.address, tuple)
        return service.address

    async def test_a_mail_program_reads_what_the_program_stored(self) -> None:
        inbox = await self.account.collection("INBOX")
        await inbox.add(RAW)
        service = ImapService(self.logins)
        verifyObject(IService, service)
        address = await self.started(service)
        self.assertEqual(await deferToThread(read_subjects, address), [b"Three herons.\r\n"])

    async def test_a_wrong_password_is_refused(self) -> None:
        address = await self.started(ImapService(self.logins))
        await self.assertFailure(deferToThread(log_in, address, "wrong"), imaplib.IMAP4.error)

    async def test_a_deferred_may_say_who_logs_in(self) -> None:
        async def ask(user: str, password: str) -> Account | None:
            return await defer.succeed(self.account if password == "asked" else None)

        address = await self.started(ImapService(ask))
        self.assertEqual(await deferToThread(log_in, address, "asked"), "OK")

    async def test_it_stops_and_starts_again(self) -> None:
        service = ImapService(self.logins)
        host, port = await self.started(service)
        idle = await deferToThread(imaplib.IMAP4, host, port, 10)
        await service.stopService()
        self.assertIsNone(service.address)
        self.assertIn(b"BYE", await deferToThread(idle.readline))
        idle.shutdown()
        again = await self.started(service)
        self.assertEqual(await deferToThread(log_in, again, PASSWORD), "OK")

    async def test_a_service_that_is_stopped_at_once_does_not_listen(self) -> None:
        parent = MultiService()
        service = ImapService(self.logins)
        service.setServiceParent(parent)
        parent.startService()
        await parent.stopService()
        self.assertIsNone(service.address)

    async def test_a_taken_port_is_told(self) -> None:
        _, port = await self.started(ImapService(self.logins))
        await self.assertFailure(ImapService(self.logins, port=port).startService(), OSError)

    async def test_a_unix_socket_can_be_asked_for(self) -> None:
        path = Path(self.mktemp())
        service = ImapService(self.logins, path=path)
        await service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(service.address, str(path))

    def test_beyond_this_machine_tls_is_wanted(self) -> None:
        for kind in (ImapService, SmtpService):
            with self.assertRaisesRegex(ValueError, "TLS"):
                kind(self.logins, host="0.0.0.0")


class Smtp(TestCase):
    """Submission into the outbox."""

    async def test_a_mail_program_sends_into_the_outbox(self) -> None:
        account = Account(AsyncAccount(MemoryAccount(ALICE)))
        self.addCleanup(account.close)
        logins = Logins()
        logins.add(account, PASSWORD)
        service = SmtpService(logins)
        await service.startService()
        self.addCleanup(service.stopService)
        assert isinstance(service.address, tuple)
        await deferToThread(send, service.address)
        [entry] = await run(account.asyncio.backend.outbox())
        self.assertEqual(tuple(entry.recipients), ("bob@example.test",))
        logins.remove(account)
        await self.assertFailure(
            deferToThread(send, service.address), smtplib.SMTPAuthenticationError
        )
