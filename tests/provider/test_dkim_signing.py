"""Outgoing mail is signed: others verify it, nothing can be added to it, and the operator says with which key."""

from __future__ import annotations

import asyncio
import functools
import json
import smtplib
import time
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.incoming.provider_checks import provider_checks
from leap.provider.cli import main
from leap.provider.contract import Endpoint
from leap.provider.folder import FolderState, save_state
from leap.provider.mail_servers import start_mail
from leap.provider.mx.authentication import MailChecks
from leap.provider.mx.authentication.dkim import SINGLE, SignedMail
from leap.provider.submission.dkim_keys import BadDkimKey, DkimKeys, KeyKind, zone_line
from leap.provider.submission.dkim_signing import SIGNED, DkimSigner
from leap.soledad.sqlite import Database
from tests.mail.smtp.certificate import contexts
from tests.provider.mail_drop import MemoryMailDrop
from tests.provider.zone import Zone

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

DOMAIN = "example.test"
NOW = 1_800_000_000.0
ANY: Endpoint = ("127.0.0.1", 0)
MAIL = (
    b"From: Alice <alice@example.test>\r\nTo: carol@other.test\r\nSubject: \xc3\xa4  x\r\n"
    b"Autocrypt: addr=alice@example.test;\r\n keydata=AAAA\r\n"
    b"Content-Type: text/plain\r\n\r\nsome  text \r\n\r\n\r\n"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> DkimKeys:
    made = DkimKeys(tmp_path_factory.mktemp("provider"), DOMAIN)
    made.make("one", "rsa")
    made.make("two", "ed25519")
    return made


@functools.cache  # reading an RSA key checks it, for some time
def signer(keys: DkimKeys, selector: str = "one") -> DkimSigner:
    keys.use(selector)
    made = keys.signer()
    assert made is not None
    return made


def zone(keys: DkimKeys) -> Zone:
    return Zone(
        {keys.record_name(one): [("TXT", keys.record(one))] for one in keys.selectors()}
        | {"_dmarc.example.test": [("TXT", "v=DMARC1; p=reject; adkim=s")]}
    )


async def result(mail: bytes, keys: DkimKeys) -> str:
    (one,) = await SignedMail(mail, DOMAIN, NOW).verify(zone(keys), 1.0)
    return one.result


@pytest.mark.parametrize("selector", ["one", "two"])
async def test_what_is_signed_is_verified(keys: DkimKeys, selector: str) -> None:
    signed = signer(keys, selector).signature_field(MAIL, NOW) + MAIL
    assert await result(signed, keys) == "pass"
    assert await result(b"Received: x\r\n" + signed, keys) == "pass"
    for change in (b"Alice", b"some", b"AAAA", b"text/plain"):
        assert await result(signed.replace(change, b"other"), keys) == "fail", change


def test_another_program_verifies_it(keys: DkimKeys) -> None:
    signed = signer(keys).signature_field(MAIL, time.time() - 1) + MAIL  # it looks at its own clock

    def dns(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"one._domainkey.example.test."
        return keys.record("one").encode()

    assert dkim.verify(signed, dnsfunc=dns)
    assert not dkim.verify(signed.replace(b"some", b"more"), dnsfunc=dns)


@given(body=st.binary(max_size=200), subject=st.text(max_size=60))
async def test_any_mail_is_signed_so_that_it_verifies(
    keys: DkimKeys, body: bytes, subject: str
) -> None:
    text = subject.replace("\r", "").replace("\n", "").replace("\0", "")
    mail = b"From: a@example.test\r\nSubject: " + text.encode("utf-8", "replace") + b"\r\n\r\n"
    mail += body.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    assert await result(signer(keys, "two").signature_field(mail, NOW) + mail, keys) == "pass"


@pytest.mark.parametrize("name", sorted(SINGLE | {"autocrypt", "openpgp"}))
async def test_no_field_that_matters_can_be_added(keys: DkimKeys, name: str) -> None:
    assert name in SIGNED
    signed = signer(keys).signature_field(MAIL, NOW) + MAIL
    added = name.encode() + b": mallory@evil.test\r\n"
    assert await result(added + signed, keys) == "fail"
    assert await result(signed.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1), keys) == "fail"


@pytest.mark.parametrize(
    "mail",
    [b"", b"\r\nbody\r\n", b"Subject: x\r\n\r\n", b"From: a@b.test\r\nno field\r\n\r\nbody\r\n"],
)
def test_a_header_that_programs_read_differently_is_not_signed(keys: DkimKeys, mail: bytes) -> None:
    assert signer(keys).signature_field(mail, NOW) == b""


def test_lines_of_the_field_are_short(keys: DkimKeys) -> None:
    field = signer(keys).signature_field(MAIL, NOW)
    assert max(map(len, field.split(b"\r\n"))) <= 78  # RFC 5322 2.1.1
    assert b"p=" not in field


# --- the operator ------------------------------------------------------------------------------


def test_a_key_is_made_shown_and_taken_into_use(tmp_path: Path) -> None:
    save_state(tmp_path, FolderState(domain=DOMAIN))
    run = CliRunner().invoke
    assert DkimKeys(tmp_path, DOMAIN).signer() is None
    made = run(main, ["dkim", "make", "--data", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert made.output.startswith('leap1._domainkey.example.test. IN TXT "v=DKIM1; k=rsa; p=MII')
    assert DkimKeys(tmp_path, DOMAIN).signer() is None  # not before its record is in the DNS
    used = run(main, ["dkim", "use", "--data", str(tmp_path), "--selector", "leap1"])
    assert used.exit_code == 0, used.output
    assert DkimKeys(tmp_path, DOMAIN).signer() is not None
    shown = json.loads(run(main, ["dkim", "show", "--data", str(tmp_path), "--json"]).output)
    assert [(one["selector"], one["in_use"]) for one in shown] == [("leap1", True)]
    assert "PRIVATE" not in made.output + used.output + str(shown)
    for file in (tmp_path / "dkim").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "dkim").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path) -> None:
    run = CliRunner().invoke
    refused = run(main, ["dkim", "show", "--data", str(tmp_path)])
    assert refused.exit_code == 1
    assert refused.stderr == f"leap-provider: {tmp_path} is not the folder of a provider\n"
    save_state(tmp_path, FolderState(domain=DOMAIN))
    for arguments, sentence in (
        (["use", "--selector", "other"], "there is no key called other"),
        (["use", "--selector", "../x"], "a selector is a short name"),
        (["make", "--selector", "A B"], "a selector is a short name"),
    ):
        refused = run(main, ["dkim", arguments[0], "--data", str(tmp_path), *arguments[1:]])
        assert refused.exit_code == 1
        assert sentence in refused.stderr


def test_a_key_is_never_made_over_another(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path, DOMAIN)
    keys.make("one", "ed25519")
    with pytest.raises(BadDkimKey):
        keys.make("one", "rsa")
    assert "ed25519" in keys.record("one")


def test_a_long_record_is_written_in_strings() -> None:
    line = zone_line("x.test", "a" * 400)
    assert line == f'x.test. IN TXT "{"a" * 255}" "{"a" * 145}"'


def test_a_damaged_key_is_not_passed_over(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path, DOMAIN)
    keys.make("one", "ed25519")
    keys.use("one")
    (tmp_path / "dkim" / "one.pem").write_text("x")
    with pytest.raises(BadDkimKey, match=r"one\.pem cannot be read"):
        keys.signer()


# --- two providers ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_a_mail_to_another_provider_is_signed_and_its_provider_says_so(
    tmp_path: Path, kind: KeyKind
) -> None:
    keys = DkimKeys(tmp_path, DOMAIN)
    keys.make("one", kind)
    there_db = await Database.open(tmp_path / "there.db", key=None)
    here_db = await Database.open(tmp_path / "here.db", key=None)
    there = MemoryMailDrop(there_db, "carol@other.test")
    here = MemoryMailDrop(here_db, "alice@example.test")
    other = await start_mail(
        there,
        domain="other.test",
        hostname="mx.other.test",
        routes={},
        tls=contexts()[0],
        mx=ANY,
        submission=ANY,
        checks=MailChecks(zone(keys)),
    )
    servers = await start_mail(
        here,
        domain=DOMAIN,
        hostname="mx.example.test",
        routes={"other.test": other.mx_address},
        tls=contexts()[0],
        mx=ANY,
        submission=ANY,
        signer=signer(keys),
    )
    arrived = asyncio.Event()
    there.on_delivery = arrived.set

    def submit() -> None:
        with smtplib.SMTP(*servers.submission_address, "laptop", timeout=10) as client:
            client.starttls(context=contexts()[1])
            client.login("alice@example.test", here.token("alice@example.test"))
            client.sendmail("alice@example.test", ["carol@other.test"], MAIL)

    try:
        await asyncio.to_thread(submit)
        async with asyncio.timeout(10):
            await arrived.wait()
    finally:
        await servers.close()
        await other.close()
        await here_db.close()
        await there_db.close()
    (opened,) = there.opened("carol@other.test")
    found = provider_checks(opened, "other.test")
    assert found is not None
    assert [(one.result, one.domain) for one in found.dkim] == [("pass", DOMAIN)]
    assert (found.dmarc, found.dmarc_domain, found.policy) == ("pass", DOMAIN, "reject")
    assert opened.endswith(MAIL)
