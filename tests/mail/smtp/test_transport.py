"""The server on real sockets, with smtplib, swaks and raw octets as its clients."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
import smtplib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import aiosmtplib
import pytest
import uvloop

from leap.mail.smtp import (
    Envelope,
    Limits,
    Reply,
    Session,
    SmtpConfig,
    SmtpServer,
    Timeouts,
    serve_smtp,
)
from tests.conftest import needs_program
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.conversation import PASSWORD, DecidingHandler, config

MAIL = b"Subject: x\r\n\r\n.dot\r\n..\r\n\xff\xfe\r\n"


@contextlib.asynccontextmanager
async def serving(
    settings: SmtpConfig | None = None, handler: DecidingHandler | None = None, **more: object
) -> AsyncIterator[tuple[SmtpServer, DecidingHandler]]:
    handler = handler or DecidingHandler()
    server = await serve_smtp(lambda: handler, settings or config(), **more)  # type: ignore[arg-type]
    try:
        yield server, handler
    finally:
        await server.close()


async def talk(server: SmtpServer, *pieces: bytes) -> bytes:
    """Sends the pieces, ends its side, and gives all that the server said until it closed."""
    address = server.address
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


async def in_thread(server: SmtpServer, job: Callable[[smtplib.SMTP], object]) -> object:
    host, port = server.address

    def run() -> object:
        with smtplib.SMTP(str(host), int(port), "client.test", timeout=10) as client:
            return job(client)

    return await asyncio.to_thread(run)


async def test_smtplib_sends_a_mail_byte_for_byte() -> None:
    async with serving() as (server, handler):
        refused = await in_thread(
            server,
            lambda client: client.sendmail("alice@x.test", ["bob@x.test", "no@x.test"], MAIL),
        )
    assert handler.mails == [("alice@x.test", ("bob@x.test",), MAIL)]
    assert refused == {"no@x.test": (550, b"5.1.1 No such user.")}
    assert handler.sessions == ["ESMTP"]


async def test_smtplib_encrypts_then_logs_in() -> None:
    server_tls, client_tls = contexts()
    settings = config(tls=server_tls, auth="required")

    def job(client: smtplib.SMTP) -> None:
        client.ehlo()
        assert not client.has_extn("auth")
        client.starttls(context=client_tls)
        client.ehlo()
        assert not client.has_extn("starttls")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("alice", "wrong")
        client.login("alice", PASSWORD)
        client.sendmail("alice@x.test", ["bob@x.test"], MAIL)

    async with serving(settings) as (server, handler):
        await in_thread(server, job)
    assert handler.sessions == ["ESMTPSA"]
    assert handler.mails[0][2] == MAIL


async def test_a_quick_client_is_heard_right_after_the_handshake() -> None:
    server_tls, client_tls = contexts()
    async with serving(config(tls=server_tls)) as (server, handler):
        host, port = server.address
        for _ in range(20):  # its first command often comes together with the end of the handshake
            async with aiosmtplib.SMTP(
                hostname=str(host),
                port=int(port),
                local_hostname="client.test",
                tls_context=client_tls,
                timeout=5,
            ) as client:
                await client.sendmail("alice@x.test", ["bob@x.test"], MAIL)
    assert handler.sessions == ["ESMTPS"] * 20


async def test_tls_from_the_first_octet() -> None:
    server_tls, client_tls = contexts()
    async with serving(config(tls=server_tls, implicit_tls=True)) as (server, handler):
        host, port = server.address

        def run() -> None:
            with smtplib.SMTP_SSL(
                str(host), int(port), "client.test", context=client_tls, timeout=10
            ) as client:
                client.sendmail("alice@x.test", ["bob@x.test"], MAIL)

        await asyncio.to_thread(run)
    assert handler.sessions == ["ESMTPS"]


async def test_swaks_is_satisfied() -> None:
    swaks = needs_program("swaks")
    settings = config(auth="optional", auth_needs_tls=False)
    login = ["--auth", "LOGIN", "--auth-user", "alice", "--auth-password", PASSWORD]
    async with serving(settings) as (server, handler):
        host, port = server.address
        process = await asyncio.create_subprocess_exec(
            swaks,
            *["--server", f"{host}:{port}", "--from", "alice@x.test", "--to", "bob@x.test"],
            *["--pipeline", "--ehlo", "client.test", *login],
            *["--body", ".begins with a dot"],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
    assert len(handler.mails) == 1
    assert b"\r\n.begins with a dot\r\n" in handler.mails[0][2]
    assert handler.sessions == ["ESMTPA"]


async def test_octets_smuggled_before_tls_are_not_heard_after_it() -> None:
    server_tls, client_tls = contexts()
    async with serving(config(tls=server_tls)) as (server, _):

        def run() -> bytes:
            with socket.create_connection(server.address, timeout=10) as plain:  # type: ignore[arg-type]
                plain.recv(1_000)
                plain.sendall(b"EHLO c\r\n")
                plain.recv(1_000)
                plain.sendall(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x.test>\r\n")
                said = plain.recv(1_000)
                assert said == b"220 2.0.0 Begin TLS.\r\n"
                with client_tls.wrap_socket(plain, server_hostname="localhost") as encrypted:
                    encrypted.sendall(b"EHLO c\r\nRCPT TO:<bob@x.test>\r\nQUIT\r\n")
                    answer = b""
                    while piece := encrypted.recv(4_096):
                        answer += piece
                    return answer

        answer = await asyncio.to_thread(run)
    assert answer.startswith(b"250-mx.example.test\r\n")
    assert b"\r\n503 5.5.1 MAIL must come first.\r\n221" in answer


async def test_a_handshake_that_fails_harms_nobody_else() -> None:
    server_tls, _ = contexts()
    async with serving(config(tls=server_tls)) as (server, _):
        said = await talk(server, b"EHLO c\r\nSTARTTLS\r\n", b"this is no handshake\r\n" * 50)
        assert said.startswith(b"220 ")
        assert (await talk(server, b"QUIT\r\n")).endswith(
            b"221 2.0.0 mx.example.test says good-bye.\r\n"
        )


async def test_a_group_that_ends_the_connection_at_once_is_still_answered() -> None:
    group = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n" + MAIL
    group = group.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    async with serving() as (server, handler):
        said = await talk(server, group)
    assert said.endswith(b"250 2.0.0 Kept.\r\n")
    assert handler.mails[0][2] == MAIL


async def test_a_mail_cut_off_in_the_middle_is_nowhere() -> None:
    group = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhalf\r\n"
    async with serving() as (server, handler):
        said = await talk(server, group)
    assert said.endswith(b"only a dot.\r\n")
    assert handler.mails == []


class BrokenHandler(DecidingHandler):
    async def authenticate(self, user: str, password: str) -> str | None:
        raise OSError("the secret words of the mail")

    async def recipient(self, session: Session, address: str) -> Reply | None:
        if address.startswith("break@"):
            raise RuntimeError("the secret words of the mail")
        return None

    async def message(
        self, session: Session, envelope: Envelope, raw: bytes
    ) -> Reply | Sequence[Reply]:
        raise ValueError(raw.decode())


async def test_a_handler_that_breaks_makes_a_451_and_logs_no_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = (
        b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<break@x.test>\r\n"
        b"RCPT TO:<b@x.test>\r\nDATA\r\nthe secret words\r\n.\r\nQUIT\r\n"
    )
    settings = config(auth="optional", auth_needs_tls=False)
    with caplog.at_level(logging.DEBUG):
        async with serving(settings, BrokenHandler()) as (server, _):
            said = await talk(server, group)
    codes = re.findall(rb"(?m)^(\d{3}) ", said)
    assert codes == [b"220", b"250", b"454", b"250", b"451", b"250", b"354", b"451", b"221"]
    assert "ValueError at test_transport.py" in caplog.text
    assert "secret" not in caplog.text


async def test_a_silent_client_is_told_and_cut_off() -> None:
    settings = config(timeouts=Timeouts(command=0.05))
    async with serving(settings) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        said = await reader.read()
        assert said.endswith(b"421 4.4.2 Nothing came for too long; the connection is closed.\r\n")
        writer.close()
        await writer.wait_closed()


async def test_single_octets_do_not_buy_time_for_ever() -> None:
    settings = config(timeouts=Timeouts(command=0.2))
    async with serving(settings) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        answer = asyncio.ensure_future(reader.read())
        while not answer.done():
            writer.write(b"N")
            await asyncio.wait([answer], timeout=0.02)
        assert b"421 4.4.2" in answer.result()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_mail_that_comes_too_slowly_is_cut_off() -> None:
    settings = config(timeouts=Timeouts(command=5, data=0.2, data_rate=1_000_000))
    opening = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
    async with serving(settings) as (server, handler):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(opening)
        answer = asyncio.ensure_future(reader.read())
        while not answer.done():
            writer.write(b"slow\r\n")
            await asyncio.wait([answer], timeout=0.02)
        assert b"421 4.4.2" in answer.result()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert handler.mails == []


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    settings = config(
        timeouts=Timeouts(command=5, write=0.05), limits=Limits(idle_commands=10**9, errors=10**9)
    )
    async with serving(settings) as (server, _):
        _, writer = await asyncio.open_connection(*server.address)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                writer.write(b"HELP\r\n" * 10_000)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_each_wrong_password_takes_longer() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    settings = config(auth="optional", auth_needs_tls=False, timeouts=Timeouts(auth_failure=2))
    group = b"EHLO c\r\n" + b"AUTH PLAIN AGFsaWNlAG5v\r\n" * 5
    async with serving(settings, sleep=sleep) as (server, _):
        said = await talk(server, group)
    assert pauses == [2, 4, 6]
    assert said.count(b"535 5.7.8") == 3
    assert said.endswith(b"421 4.7.0 Too many failed log-ins; the connection is closed.\r\n")


async def test_one_address_cannot_take_all_places() -> None:
    settings = config(limits=Limits(connections_per_peer=2))
    async with serving(settings) as (server, _):
        held = [await asyncio.open_connection(*server.address) for _ in range(2)]
        for reader, _ in held:
            await reader.readline()
        said = await talk(server)
        assert said == b"421 4.7.0 Too many connections; try again later.\r\n"
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        for _ in range(100):  # the server hears of it in its own time
            if (await talk(server, b"QUIT\r\n")).startswith(b"220"):
                break
        else:
            pytest.fail("the places were not given back")


LOGIN = b"EHLO c\r\nAUTH PLAIN " + base64.b64encode(b"\0alice\0" + PASSWORD.encode()) + b"\r\n"


async def test_strangers_take_no_place_from_those_who_log_in() -> None:
    settings = config(auth="required", auth_needs_tls=False, limits=Limits(strangers=3))
    async with serving(settings) as (server, _):
        known, out = await asyncio.open_connection(*server.address)
        out.write(LOGIN)
        await known.readuntil(b"235 ")
        held = [await asyncio.open_connection(*server.address) for _ in range(10)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"220 ")
        assert b"\r\n235 " in await talk(server, LOGIN, b"QUIT\r\n")
        for reader, _ in held[:8]:
            said = await asyncio.wait_for(reader.read(), 10)
            assert said == b"421 4.7.0 Too many connections; try again later.\r\n"
        out.write(b"NOOP\r\n")
        await known.readuntil(b"250 2.0.0 ")
        held[-1][1].write(b"NOOP\r\n")
        assert (await held[-1][0].readline()).startswith(b"250 ")
        for _, writer in [*held, (known, out)]:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_words_do_not_buy_time_before_the_log_in() -> None:
    settings = config(
        auth="required",
        timeouts=Timeouts(login=0.3),
        limits=Limits(idle_commands=10**9, errors=10**9),
    )
    async with serving(settings) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        async with asyncio.timeout(10):
            while not (said := await reader.readline()).startswith(b"421 4.4.2"):
                assert said
                writer.write(b"NOOP\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_mails_under_way_share_one_amount_of_memory() -> None:
    settings = config(max_size=10_000, limits=Limits(memory=5_000))
    opening = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
    async with serving(settings) as (server, handler):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(opening + b"x" * 6_000)
        await reader.readuntil(b"354 ")
        said = await talk(server, opening + b"QUIT\r\n")
        assert b"\r\n452 4.3.1 Too much mail is under way here; try again later.\r\n221 " in said
        writer.write(b"\r\n.\r\n")
        await reader.readuntil(b"250 2.0.0 Kept.\r\n")
        assert b"\r\n354 " in await talk(server, opening)
        writer.close()
        await writer.wait_closed()
    assert len(handler.mails) == 1


async def test_a_unix_socket_belongs_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    async with serving(config(lmtp=True), DecidingHandler(lmtp=True), path=path) as (server, _):
        assert server.address == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
        said = await talk(server, b"LHLO c\r\nQUIT\r\n")
        assert said.startswith(b"220 mx.example.test LMTP leap.mail\r\n250-")
    assert not path.exists()


async def test_a_taken_port_is_an_oserror() -> None:
    async with serving() as (server, _):
        host, port = server.address
        with pytest.raises(OSError, match="address already in use"):
            await serve_smtp(DecidingHandler, config(), str(host), int(port))


class SlowHandler(DecidingHandler):
    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def message(
        self, session: Session, envelope: Envelope, raw: bytes
    ) -> Reply | Sequence[Reply]:
        self.begun.set()
        await self.go_on.wait()
        return self.decide_mail(envelope, raw)


GROUP = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nx\r\n.\r\n"


async def test_closing_waits_for_a_mail_under_way_and_ends_the_idle() -> None:
    handler = SlowHandler()
    server = await serve_smtp(lambda: handler, config())
    idle_reader, idle_writer = await asyncio.open_connection(*server.address)
    busy_reader, busy_writer = await asyncio.open_connection(*server.address)
    await idle_reader.readline()
    busy_writer.write(GROUP)
    await handler.begun.wait()
    closing = asyncio.ensure_future(server.close())
    assert (
        await idle_reader.read() == b"421 4.3.2 The server is being stopped; try again later.\r\n"
    )
    assert not closing.done()
    handler.go_on.set()
    said = await busy_reader.read()
    assert said.endswith(
        b"250 2.0.0 Kept.\r\n421 4.3.2 The server is being stopped; try again later.\r\n"
    )
    await closing
    assert len(handler.mails) == 1
    for writer in (idle_writer, busy_writer):
        writer.close()
        await writer.wait_closed()


async def test_closing_lets_a_mail_come_to_its_end() -> None:
    handler = DecidingHandler()
    server = await serve_smtp(lambda: handler, config())
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(GROUP[:-5])
    await reader.readuntil(b"354 Send the mail; end it with a line that holds only a dot.\r\n")
    closing = asyncio.ensure_future(server.close())
    await asyncio.sleep(0)
    writer.write(GROUP[-5:-3])
    await writer.drain()
    writer.write(GROUP[-3:])
    assert (await reader.read()).startswith(b"250 2.0.0 Kept.\r\n421 4.3.2")
    await closing
    assert handler.mails == [("a@x.test", ("b@x.test",), b"x\r\n")]
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_away_does_not_stop_its_mail() -> None:
    handler = SlowHandler()
    async with serving(handler=handler) as (server, _):
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(GROUP)
        await handler.begun.wait()
        writer.transport.abort()
        handler.go_on.set()
    assert len(handler.mails) == 1


async def test_a_large_mail_stops_no_other_connection_and_survives_its_size() -> None:
    settings = config(max_size=1_000_000, limits=Limits())
    big = b"x" * 70 + b"\r\n"
    async with serving(settings) as (server, handler):

        def run(client: smtplib.SMTP) -> None:
            client.ehlo()
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                client.sendmail("a@x.test", ["b@x.test"], big * 20_000)
            assert refused.value.smtp_code == 552
            client.mail("a@x.test")  # without SIZE: found out while reading
            client.rcpt("b@x.test")
            code, text = client.data(big * 20_000)
            assert (code, text[:6]) == (552, b"5.3.4 ")
            client.sendmail("a@x.test", ["b@x.test"], big * 10_000)

        await in_thread(server, run)
    assert [mail[2] for mail in handler.mails] == [big * 10_000]


async def test_the_handler_hears_the_parameters() -> None:
    heard: list[Mapping[str, str]] = []

    class Listening(DecidingHandler):
        async def sender(
            self, session: Session, address: str, params: Mapping[str, str]
        ) -> Reply | None:
            heard.append(params)
            return None

    async with serving(config(submission_ids=True), Listening()) as (server, handler):
        await talk(
            server,
            b"EHLO c\r\nMAIL FROM:<a@x.test> SMTPUTF8 X-LEAP-SUBMISSION=one\r\nRCPT TO:<b@x.test>\r\n",
            b"DATA\r\n.\r\nQUIT\r\n",
        )
    assert heard == [{"SMTPUTF8": "", "X-LEAP-SUBMISSION": "one"}]
    assert handler.envelopes[0].submission_id == "one"
    assert handler.envelopes[0].smtputf8


def test_implicit_tls_without_a_certificate_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="context"):
        asyncio.run(serve_smtp(DecidingHandler, config(implicit_tls=True)))


ALSO_ON_UVLOOP = [
    test_smtplib_sends_a_mail_byte_for_byte,
    test_smtplib_encrypts_then_logs_in,
    test_a_quick_client_is_heard_right_after_the_handshake,
    test_tls_from_the_first_octet,
    test_octets_smuggled_before_tls_are_not_heard_after_it,
    test_a_handshake_that_fails_harms_nobody_else,
    test_a_group_that_ends_the_connection_at_once_is_still_answered,
    test_a_silent_client_is_told_and_cut_off,
    test_a_client_that_does_not_read_is_cut_off,
    test_closing_waits_for_a_mail_under_way_and_ends_the_idle,
    test_closing_lets_a_mail_come_to_its_end,
    test_a_client_that_goes_away_does_not_stop_its_mail,
    test_a_large_mail_stops_no_other_connection_and_survives_its_size,
]


@pytest.mark.parametrize("test", ALSO_ON_UVLOOP, ids=lambda test: test.__name__)
def test_the_same_on_the_providers_loop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
