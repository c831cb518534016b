"""Further addresses of an account: given by the operator, also while the provider runs, and valid at once."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from leap.keymanager.openpgp import Certificate, generate
from leap.keymanager.openpgp.editing import add_user_id
from leap.keymanager.wkd_names import wkd_hash
from leap.mail.delivery_wishes import DeliveryNotice, DeliveryWishes
from leap.mail.smtp import Envelope, Session
from leap.provider.aliases import MOST, Alias, NotAnAlias, add_alias
from leap.provider.cli import main
from leap.provider.errors import AddressTaken, BadRequest, NotFound
from leap.provider.folder import STATE_FILE
from leap.provider.mx.handler import MxHandler
from leap.provider.provider import Provider
from leap.provider.queue import QueueStorage, Routes
from leap.provider.submission import SubmissionHandler
from leap.soledad import wire
from tests.provider.world import DOMAIN, Served, account

ALICE, BOB, SALES = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "sales"))


async def test_mail_to_an_alias_is_the_accounts(provider: Provider) -> None:
    await account(provider, "alice")
    assert await provider.find_account(SALES) is None
    await provider.aliases.add(DOMAIN, "Sales@" + DOMAIN.upper(), ALICE)
    found = await provider.find_account(SALES)
    assert found is not None
    assert found == await provider.find_account(ALICE)
    await provider.aliases.remove(SALES)
    assert await provider.find_account(SALES) is None


async def test_an_address_is_of_one_account(provider: Provider) -> None:
    await account(provider, "alice")
    await account(provider, "bob")
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    await provider.aliases.add(DOMAIN, SALES, ALICE)  # again: nothing changes
    with pytest.raises(NotAnAlias, match="another account"):
        await provider.aliases.add(DOMAIN, SALES, BOB)
    with pytest.raises(NotAnAlias, match="is an account"):
        await provider.aliases.add(DOMAIN, BOB, ALICE)
    with pytest.raises(NotAnAlias, match="no account"):
        await provider.aliases.add(DOMAIN, f"x@{DOMAIN}", f"carol@{DOMAIN}")
    with pytest.raises(AddressTaken):
        await account(provider, "sales")


@pytest.mark.parametrize(
    "address",
    [
        "sales@elsewhere.test",
        f"a+b@{DOMAIN}",
        f"@{DOMAIN}",
        "sales",
        f"a b@{DOMAIN}",
        f"-@{DOMAIN}",
    ],
)
async def test_what_can_be_no_address_here_is_refused(provider: Provider, address: str) -> None:
    await account(provider, "alice")
    with pytest.raises(NotAnAlias):
        await provider.aliases.add(DOMAIN, address, ALICE)


async def test_an_account_has_no_more_than_it_may(provider: Provider) -> None:
    await account(provider, "alice")

    def fill(connection: object) -> None:
        for number in range(MOST):
            add_alias(connection, DOMAIN, f"a{number}@{DOMAIN}", ALICE, now=1)  # type: ignore[arg-type]

    await provider.db.write(fill)
    with pytest.raises(NotAnAlias, match="the most"):
        await provider.aliases.add(DOMAIN, SALES, ALICE)


async def test_an_account_hears_of_its_aliases_and_of_nobody_elses(https: Served) -> None:
    alice, bob = await https.device("alice"), await https.device("bob")
    await https.provider.aliases.add(DOMAIN, SALES, ALICE)
    for token, expected in ((alice, [SALES]), (bob, [])):
        status, body = await https.call("GET", wire.API + "/aliases", token=token)
        assert status == 200
        assert wire.decode(body, wire.AliasesReply).addresses == expected
    assert (await https.refused("GET", wire.API + "/aliases"))[0] == 401


def a_session(principal: str) -> Session:
    session = Session(peer=("192.0.2.1", 1))
    session.principal = principal
    return session


@pytest.mark.parametrize("tag", ["", "+lists"])
async def test_its_account_and_nobody_else_sends_as_an_alias(provider: Provider, tag: str) -> None:
    await account(provider, "alice")
    await account(provider, "bob")
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    queue = await QueueStorage.open(provider.db)
    handler = SubmissionHandler(
        provider, queue, domain=DOMAIN, hostname=DOMAIN, routes=Routes({}), now=lambda: 1.0
    )
    sender = SALES.replace("@", tag + "@")
    raw = f"From: Sales <{sender}>\r\n\r\nhi\r\n".encode()
    for principal, codes in ((ALICE, (None, 250)), (BOB, (550, 550))):
        session = a_session(principal)
        refused = await handler.sender(session, sender, {})
        assert (None if refused is None else refused.code) == codes[0]
        await handler.sender(session, principal, {})
        await handler.recipient(session, BOB)
        reply = await handler.message(
            session, Envelope(sender=principal, recipients=[BOB], params={}), raw
        )
        assert reply.code == codes[1], reply


async def test_who_sends_as_an_alias_hears_of_delivery_when_asked(provider: Provider) -> None:
    numbers = {name: await account(provider, name) for name in ("alice", "bob")}
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    queue = await QueueStorage.open(provider.db)
    handler = SubmissionHandler(
        provider, queue, domain=DOMAIN, hostname=DOMAIN, routes=Routes({}), now=lambda: 1.0
    )
    session = a_session(ALICE)
    assert await handler.sender(session, SALES, {}) is None
    assert await handler.recipient(session, BOB) is None
    wishes = DeliveryWishes(notices={BOB: DeliveryNotice(notify=("SUCCESS",))})
    envelope = Envelope(sender=SALES, recipients=(BOB,), wishes=wishes)
    raw = f"From: Sales <{SALES}>\r\n\r\nhi\r\n".encode()
    assert (await handler.message(session, envelope, raw)).code == 250
    assert await provider.inbox.waiting(numbers["bob"]) == 1
    assert await provider.inbox.waiting(numbers["alice"]) == 1  # the report


async def test_the_mx_takes_mail_for_an_alias_until_it_is_taken_away(provider: Provider) -> None:
    await account(provider, "alice")
    handler = MxHandler(provider, domain=DOMAIN, hostname=DOMAIN)
    session = a_session("")
    refused = await handler.recipient(session, SALES)
    assert refused is not None
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    assert await handler.recipient(session, SALES) is None
    assert await handler.recipient(session, f"sales+tag@{DOMAIN}") is None
    await provider.aliases.remove(SALES)
    assert await handler.recipient(session, SALES) is not None


async def test_the_operator_gives_lists_and_takes_them_while_the_provider_runs(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "p"
    provider = await Provider.open(folder, DOMAIN)
    await account(provider, "alice")
    (folder / STATE_FILE).write_bytes(json.dumps({"domain": DOMAIN}).encode())

    async def run(*arguments: str, code: int = 0) -> str:
        line = ["alias", arguments[0], "--data", str(folder), *arguments[1:]]
        done = await asyncio.to_thread(CliRunner().invoke, main, line)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    assert await run("add", SALES, ALICE) == f"{SALES}  {ALICE}\n"
    assert await provider.find_account(SALES) is not None
    assert await provider.aliases.find(SALES) == Alias(SALES, ALICE)
    listed = json.loads(await run("list", "--json"))
    assert listed == [{"address": SALES, "account": ALICE}]
    assert await run("list", BOB) == ""
    assert "no account" in await run("add", SALES, BOB, code=1)
    await run("remove", SALES)
    assert await provider.find_account(SALES) is None
    assert "is no alias" in await run("remove", SALES, code=1)
    await provider.close()
    other = await asyncio.to_thread(
        CliRunner().invoke, main, ["alias", "list", "--data", str(tmp_path)]
    )
    assert other.exit_code == 1
    assert "is not the folder of a provider" in other.output


async def test_the_key_of_an_alias_is_found_and_nobody_hears_of_the_other_address(
    https: Served,
) -> None:
    provider = https.provider
    number = await account(provider, "alice")
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    key = add_user_id(generate(ALICE), f"Sales <{SALES}>", now=time.time() + 1)
    await provider.directory.put(number, ALICE, key.certificate.binary)
    for address in (ALICE, SALES):
        found = Certificate.from_bytes((await provider.directory.find(address)).certificate)
        assert found.fingerprint == key.fingerprint
        assert found.addresses == (address,)
        assert found.can_encrypt(time.time() + 2)
        hashed = wkd_hash(address.partition("@")[0])
        assert await provider.directory.find_by_wkd_hash(hashed) == found.binary
    await provider.aliases.remove(SALES)
    with pytest.raises(NotFound):
        await provider.directory.find(SALES)
    with pytest.raises(NotFound):
        await provider.directory.find_by_wkd_hash(wkd_hash("sales"))
    with pytest.raises(BadRequest, match="another address"):
        await provider.directory.put(number, ALICE, key.certificate.binary)


async def test_a_key_without_the_alias_is_not_given_out_for_it(provider: Provider) -> None:
    number = await account(provider, "alice")
    await provider.aliases.add(DOMAIN, SALES, ALICE)
    await provider.directory.put(number, ALICE, generate(ALICE).certificate.binary)
    with pytest.raises(NotFound):
        await provider.directory.find(SALES)
