"""Where the daemon listens for mail programs: loopback, TLS, other addresses, unix sockets, ports that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.bitmask.cli.mail import show_settings
from leap.bitmask.home import Home
from leap.bitmask.local_servers import LocalServers, ServerOptions, StartFailure
from leap.bitmask.sessions import AccountSessions

ANY = {"imap_port": 0, "smtp_port": 0, "autoconfig_port": 0}


@contextlib.asynccontextmanager
async def servers(folder: Path, options: ServerOptions) -> AsyncIterator[LocalServers]:
    home = Home(folder)
    home.prepare()
    made = LocalServers(home, AccountSessions(home), options)
    try:
        await made.start(folder)
        yield made
    finally:
        await made.close()


async def greeting(
    address: tuple[str, int] | Path, tls: ssl.SSLContext | None = None, name: str | None = None
) -> bytes:
    if isinstance(address, Path):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=name)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return line


async def test_it_listens_on_loopback_and_on_sockets_of_its_owner(tmp_path: Path) -> None:
    async with servers(tmp_path, ServerOptions(**ANY)) as made:
        assert {host for host, _ in made.addresses.values()} == {"127.0.0.1"}
        assert not made.tls
        assert made.certificate_told() == {}
        for name, word in (("imap", b"* OK "), ("smtp", b"220 ")):
            assert (await greeting(made.addresses[name])).startswith(word)
            assert (await greeting(made.sockets[name])).startswith(word)
            assert stat.S_IMODE(made.sockets[name].stat().st_mode) == 0o600
    with pytest.raises(ConnectionRefusedError):
        await greeting(made.addresses["imap"])


async def test_tls_is_spoken_from_the_first_octet_with_a_certificate_of_its_own(
    tmp_path: Path,
) -> None:
    async with servers(tmp_path, ServerOptions(**ANY, tls=True)) as made:
        assert made.certificate is not None
        trusting = ssl.create_default_context(cafile=str(made.certificate))
        for name, word in (("imap", b"* OK "), ("smtp", b"220 ")):
            for host in ("localhost", "127.0.0.1"):
                said = await greeting(made.addresses[name], trusting, host)
                assert said.startswith(word), name
        with pytest.raises(ssl.SSLCertVerificationError):
            await greeting(made.addresses["imap"], ssl.create_default_context(), "localhost")
        kept = made.addresses, made.certificate_told()
    async with servers(tmp_path, ServerOptions()) as again:  # asked for nothing: as it was
        assert (again.addresses, again.certificate_told()) == kept
    async with servers(tmp_path, ServerOptions(tls=False)) as plain:
        assert (await greeting(plain.addresses["imap"])).startswith(b"* OK ")


def test_people_are_told_what_a_program_asks_them(capsys: pytest.CaptureFixture[str]) -> None:
    login = {"user": "alice@example.test", "password": "abcd-efgh"}
    servers = {
        name: {"host": "127.0.0.1", "port": 1, "tls": True, **login} for name in ("imap", "smtp")
    }
    show_settings({**servers, "certificate": "/home/tls/local.pem", "certificate_sha256": "AB:CD"})
    told = capsys.readouterr().out
    assert "IMAP  127.0.0.1 port 1, TLS," in told
    assert "/home/tls/local.pem" in told
    assert "SHA-256 AB:CD" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "desk.example.test"])
async def test_beyond_this_machine_nothing_is_served_without_tls(tmp_path: Path, host: str) -> None:
    with pytest.raises(StartFailure, match="--tls") as caught:
        async with servers(tmp_path, ServerOptions(**ANY, listen=host)):
            pass
    assert caught.value.kind == "needs-tls"
    assert Home(tmp_path).settings() == {}


async def test_another_address_is_served_with_tls_and_kept(tmp_path: Path) -> None:
    options = ServerOptions(**ANY, tls=True, listen="0.0.0.0")
    async with servers(tmp_path, options) as made:
        trusting = ssl.create_default_context(cafile=str(made.certificate))
        address = made.addresses["imap"]
        assert address[0] == "127.0.0.1"  # what programs here are told
        assert (await greeting(("127.0.0.2", address[1]), trusting, "localhost")).startswith(
            b"* OK"
        )
        with pytest.raises(ConnectionRefusedError):  # only the mail servers listen there
            await greeting(("127.0.0.2", made.addresses["autoconfig"][1]))
    with pytest.raises(StartFailure, match="--tls"):
        async with servers(tmp_path, ServerOptions(tls=False)):
            pass


async def test_an_address_that_is_none_of_this_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match=r"192\.0\.2\.1") as caught:
        async with servers(tmp_path, ServerOptions(**ANY, tls=True, listen="192.0.2.1")):
            pass
    assert caught.value.kind == "no-address"


async def test_mail_ports_are_kept_and_that_of_the_autoconfiguration_may_change(
    tmp_path: Path,
) -> None:
    async with servers(tmp_path, ServerOptions(**ANY)) as made:
        first = made.addresses
    with socket.create_server(first["autoconfig"]):
        async with servers(tmp_path, ServerOptions()) as made:
            assert made.addresses["imap"] == first["imap"]
            assert made.addresses["autoconfig"] != first["autoconfig"]
    with socket.create_server(first["imap"]), pytest.raises(StartFailure) as caught:
        async with servers(tmp_path, ServerOptions()):
            pass
    assert caught.value.kind == "port-in-use"
    assert "--imap-port" in str(caught.value)
