"""Signing up and enrolling, against a real provider and against one that lies or loses replies."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from leap.soledad import enrol
from leap.soledad.enrol import (
    enrol_by_recovery,
    enrol_device,
    log_in_again,
    sign_up,
)
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    ForgedEnvelope,
    ImpostorProvider,
    KeysetMoved,
    MissingSecrets,
    Refused,
    Unreachable,
    WeakKdf,
    WrongKey,
)
from leap.soledad.keyset import EpochEntry, open_keyset, sign_keyset
from leap.soledad.material import AccountMaterial, encode_material
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import (
    AccountSecrets,
    derive_passphrase,
    floor_kdf_params,
    unwrap,
    wrap_context,
)
from leap.soledad.wire import KeysetPut, LoginReply, Wraps
from tests.provider.world import DOMAIN, Served, opened, served

ALICE = f"alice@{DOMAIN}"
PASSPHRASE = "the quick brown fox"
REPLACE = msgspec.structs.replace


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


class Meddled(ProviderClient):
    """A client whose replies a test may change or lose."""

    lose: set[str] = frozenset()
    change = None

    async def _after(self, name, call):
        result = await call
        if name in self.lose:
            self.lose = self.lose - {name}
            raise Unreachable("the reply was lost")
        return result

    async def signup(self, signup):
        return await self._after("signup", super().signup(signup))

    async def put_keyset(self, put):
        return await self._after("put_keyset", super().put_keyset(put))

    async def secrets(self):
        reply = await self._after("secrets", super().secrets())
        return self.change(reply) if self.change else reply


def client_of(https: Served) -> Meddled:
    return Meddled(https.url, ca_file=https.ca_file)


async def made(client: ProviderClient, passphrase: str = PASSPHRASE, address: str = ALICE):
    return await sign_up(client, address, passphrase, "laptop", kdf=floor_kdf_params)


async def test_a_new_account_is_complete(https: Served):
    async with client_of(https) as client:
        enrolled = await made(client)
        material = enrolled.material
        keyset = material.open_keyset()
        assert [device.name for device in keyset.devices] == ["laptop"]
        assert keyset.address == material.address == ALICE
        assert keyset.inbox_key().key_id == material.inbox_keys[0].key_id
        assert len(enrolled.recovery_code.split()) == 24
        assert material.token == client.token
        assert material.ca_pem == https.ca_file.read_bytes()
        assert (await client.secrets()).keyset == material.keyset
        assert (await https.provider.find_account(ALICE)).account_id == material.account_id


async def test_a_second_device_needs_only_address_and_passphrase(https: Served):
    async with client_of(https) as laptop, client_of(https) as phone:
        first = (await made(laptop)).material
        second = (await enrol_device(phone, "Alice@Example.test", PASSPHRASE, "phone")).material
        assert second.device != first.device
        assert second.token != first.token
        for name in ("account_id", "id_key", "epochs", "inbox_keys", "root_public"):
            assert getattr(second, name) == getattr(first, name)
        assert [device.name for device in second.open_keyset().devices] == ["laptop", "phone"]
        assert (await laptop.secrets()).keyset == second.keyset


async def test_the_recovery_code_enrols_too(https: Served):
    async with client_of(https) as laptop, client_of(https) as phone:
        first = await made(laptop)
        second = await enrol_by_recovery(phone, ALICE, first.recovery_code, "phone")
        assert second.material.id_key == first.material.id_key
        assert second.recovery_code is None
        with pytest.raises(WrongKey):
            await enrol_by_recovery(phone, ALICE, "one two three", "phone")


async def test_devices_enrolled_at_once_are_all_listed(https: Served):
    async with client_of(https) as laptop:
        first = (await made(laptop)).material
        clients = [client_of(https) for _ in range(4)]
        enrolled = await asyncio.gather(
            *(
                enrol_device(client, ALICE, PASSPHRASE, f"phone {n}")
                for n, client in enumerate(clients)
            )
        )
        newest = open_keyset((await laptop.secrets()).keyset, root_public=first.root_public)
        names = {device.name for device in newest.devices}
        assert names == {"laptop", "phone 0", "phone 1", "phone 2", "phone 3"}
        assert len({one.material.device.device_id for one in enrolled}) == 4
        for client in clients:
            await client.close()


async def test_logging_in_again_gives_a_new_token_for_the_same_device(https: Served):
    async with client_of(https) as client:
        material = (await made(client)).material
        await client.log_out()
        token = await log_in_again(client, material, PASSPHRASE)
        assert token == client.token != material.token
        assert (await client.secrets()).keyset == material.keyset
        with pytest.raises(AuthFailed):
            await log_in_again(client, material, "wrong")


async def test_a_wrong_passphrase_enrols_nothing(https: Served):
    async with client_of(https) as laptop, client_of(https) as phone:
        material = (await made(laptop)).material
        with pytest.raises(AuthFailed):
            await enrol_device(phone, ALICE, "wrong", "phone")
        assert phone.token is None
        assert (await laptop.secrets()).keyset == material.keyset


async def test_an_empty_passphrase_is_refused_before_anything_is_sent(https: Served):
    async with client_of(https) as client:
        with pytest.raises(WrongKey):
            await made(client, "")
        assert await https.provider.find_account(ALICE) is None


async def test_an_address_is_taken_once(https: Served):
    async with client_of(https) as client, client_of(https) as eve:
        await made(client)
        with pytest.raises(Refused) as caught:
            await made(eve, "eve's own")
        assert caught.value.error == "address-taken"


# --- lost replies ----------------------------------------------------------------------------------


async def test_a_lost_reply_to_the_sign_up_is_looked_up(https: Served):
    async with client_of(https) as client:
        client.lose = {"signup"}
        enrolled = await made(client)
        assert enrolled.recovery_code
        assert (await client.secrets()).keyset == enrolled.material.keyset


async def test_a_sign_up_that_never_arrived_is_an_error(https: Served):
    class Deaf(Meddled):
        async def signup(self, signup):
            raise Unreachable("nothing arrived")

    async with Deaf(https.url, ca_file=https.ca_file) as client:
        with pytest.raises(Unreachable, match="nothing arrived"):
            await made(client)
        assert client.token is None


async def test_somebody_elses_account_is_not_taken_for_ones_own_after_a_lost_reply(https: Served):
    class Crossed(Meddled):
        async def signup(self, signup):
            raise Unreachable("nothing arrived")

    async with client_of(https) as first, Crossed(https.url, ca_file=https.ca_file) as second:
        await made(first)
        with pytest.raises(Unreachable):
            await made(second)


async def test_a_lost_reply_to_the_enrolment_lists_the_device_once(https: Served):
    async with client_of(https) as laptop, client_of(https) as phone:
        await made(laptop)
        phone.lose = {"put_keyset"}
        material = (await enrol_device(phone, ALICE, PASSPHRASE, "phone")).material
        keyset = material.open_keyset()
        assert [device.name for device in keyset.devices] == ["laptop", "phone"]
        assert keyset.version == 2


async def test_a_keyset_that_always_moves_ends_in_an_error(https: Served):
    class Contended(Meddled):
        tries = 0

        async def put_keyset(self, put):
            self.tries += 1
            raise KeysetMoved("keyset-moved", "another device was first", 409)

    async with client_of(https) as laptop, Contended(https.url, ca_file=https.ca_file) as phone:
        await made(laptop)
        with pytest.raises(KeysetMoved):
            await enrol_device(phone, ALICE, PASSPHRASE, "phone")
        assert phone.tries == enrol.ATTEMPTS
        assert phone.token is None


# --- a provider that lies ----------------------------------------------------------------------------


async def refused_enrolment(https: Served, change, error: type[Exception]) -> None:
    async with client_of(https) as laptop, client_of(https) as phone:
        material = (await made(laptop)).material
        phone.change = change
        with pytest.raises(error):
            await enrol_device(phone, ALICE, PASSPHRASE, "phone")
        assert phone.token is None  # a device that was not enrolled keeps no token
        assert (await laptop.secrets()).keyset == material.keyset


@pytest.mark.parametrize("field", ["passphrase", "recovery"])
async def test_missing_secrets_are_never_made_anew(https: Served, field):
    await refused_enrolment(
        https,
        lambda reply: REPLACE(reply, wraps=REPLACE(reply.wraps, **{field: b""})),
        MissingSecrets,
    )


async def test_a_missing_keyset_is_never_made_anew(https: Served):
    await refused_enrolment(https, lambda reply: REPLACE(reply, keyset=b""), MissingSecrets)


async def test_secrets_that_are_gone_are_missing(https: Served):
    def gone(reply):
        raise Refused("not-found", "there is no such thing", 404)

    await refused_enrolment(https, gone, MissingSecrets)


async def test_altered_secrets_do_not_enrol(https: Served):
    def altered(reply):
        wrapped = bytearray(reply.wraps.passphrase)
        wrapped[100] ^= 1
        return REPLACE(reply, wraps=REPLACE(reply.wraps, passphrase=bytes(wrapped)))

    await refused_enrolment(https, altered, ForgedEnvelope)


async def test_the_wrap_for_recovery_does_not_serve_for_the_passphrase(https: Served):
    await refused_enrolment(
        https,
        lambda reply: REPLACE(
            reply, wraps=Wraps(passphrase=reply.wraps.recovery, recovery=reply.wraps.passphrase)
        ),
        ForgedEnvelope,
    )


async def test_a_keyset_of_the_providers_own_is_refused(https: Served):
    async with client_of(https) as eve:
        theirs = (await made(eve, address=f"eve@{DOMAIN}")).material.keyset
    await refused_enrolment(https, lambda reply: REPLACE(reply, keyset=theirs), BadKeyset)


async def test_a_version_that_is_not_the_keysets_is_refused(https: Served):
    await refused_enrolment(https, lambda reply: REPLACE(reply, keyset_version=9), BadKeyset)


async def test_a_provider_that_asks_for_weak_stretching_learns_nothing(https: Served, monkeypatch):
    async with client_of(https) as laptop, client_of(https) as phone:
        await made(laptop)
        start = ProviderClient._start

        async def weak(self, *arguments):
            challenge = await start(self, *arguments)
            return REPLACE(challenge, kdf=REPLACE(challenge.kdf, memory_kib=8))

        monkeypatch.setattr(ProviderClient, "_start", weak)
        with pytest.raises(WeakKdf):
            await enrol_device(phone, ALICE, PASSPHRASE, "phone")


async def test_a_provider_that_cannot_prove_itself_gives_no_token(https: Served, monkeypatch):
    async with client_of(https) as laptop, client_of(https) as phone:
        await made(laptop)
        post = ProviderClient._post

        async def forged(self, path, *arguments, **options):
            reply = await post(self, path, *arguments, **options)
            return REPLACE(reply, srp_m2=os.urandom(32)) if path == "login/finish" else reply

        monkeypatch.setattr(ProviderClient, "_post", forged)
        with pytest.raises(ImpostorProvider):
            await enrol_device(phone, ALICE, PASSPHRASE, "phone")
        assert phone.token is None


# --- what stays ----------------------------------------------------------------------------------------


async def test_neither_root_seed_nor_passphrase_stays_on_the_device(https: Served):
    async with client_of(https) as client:
        material = (await made(client)).material
        secrets = await secrets_of_account(client, material)
        stored = encode_material(material)
        assert material.id_key in stored
        assert secrets.root_seed not in stored
        assert PASSPHRASE.encode() not in stored


async def test_a_keyset_with_an_epoch_the_secrets_lack_is_refused(https: Served):
    """Old wraps beside a newer keyset: a device that believed them could not read what comes."""
    async with client_of(https) as laptop, client_of(https) as phone:
        material = (await made(laptop)).material
        secrets = await secrets_of_account(laptop, material)
        newer = material.open_keyset()
        newer = newer.successor(epochs=[*newer.epochs, EpochEntry(2, 0, since_version=2)])
        signed = sign_keyset(newer, secrets.root_key)
        phone.change = lambda reply: REPLACE(reply, keyset=signed, keyset_version=2)
        with pytest.raises(ForgedEnvelope, match="lack an epoch"):
            await enrol_device(phone, ALICE, PASSPHRASE, "phone")


async def secrets_of_account(client: ProviderClient, material: AccountMaterial) -> AccountSecrets:
    device = material.device
    keys = await client.log_in_with(
        ALICE, partial(derive_passphrase, PASSPHRASE), device.device_id, device.name
    )
    wrapped = (await client.secrets()).wraps.passphrase
    return unwrap(wrapped, keys.wrap_key, wrap_context(ALICE))


async def test_what_is_enrolled_shows_no_words(https: Served):
    async with client_of(https) as client:
        enrolled = await made(client)
        assert enrolled.recovery_code not in repr(enrolled)
        assert client.token not in repr(enrolled)


async def test_bodies_of_the_protocol_never_show_what_they_carry() -> None:
    reply = LoginReply(srp_m2=b"proof", token="a-token")
    put = KeysetPut(
        expected_version=1, keyset=b"keyset", wraps=Wraps(passphrase=b"wrapped", recovery=b"too")
    )
    assert (repr(reply), repr(put)) == ("LoginReply()", "KeysetPut()")
    assert repr(put.wraps) == "Wraps()"
