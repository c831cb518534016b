"""Attacks on logging in and on what a new device is given: key derivation, proofs, secrets, keysets."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from leap.provider.errors import NotFound
from leap.provider.http.bodies import refuse
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    CostlyKdf,
    ForgedEnvelope,
    ImpostorProvider,
    MissingSecrets,
    Refused,
    WeakKdf,
)
from leap.soledad.keyset import Keyset, open_keyset
from leap.soledad.secrets import AccountSecrets, derive_passphrase, unwrap, wrap_context
from leap.soledad.wire import API, KeysetPut, LoginChallenge, LoginReply, SecretsReply, Wraps
from tests.hostile.items import TAG
from tests.hostile.server import BOB, Attack, Reaction
from tests.hostile.switching_off import Instead, Raise, Text, Whole
from tests.hostile.world import World
from tests.provider.world import PASSPHRASE

SIGNATURE = Whole("leap.soledad.keyset", "_check_signature")
OTHER_ROOT = Raise("leap.soledad.keyset", "open_keyset", "names another root key")


class LoginAttack(Attack):
    """A new device of alice logs in and is enrolled."""

    guarantee = "G5"
    reaction = Reaction.REFUSAL
    enrolled = False

    async def act(self, world: World) -> None:
        await world.log_in("tablet")
        self.enrolled = True

    async def succeeded(self, world: World) -> bool:
        return self.enrolled


class AskForWeakKdf(LoginAttack):
    """Asks to stretch the passphrase so little that the proof can be used to guess it."""

    # Without the check the proof goes out, made of the weak key: that is the harm. The honest part of this
    # provider then refuses it.
    expected = WeakKdf
    says = "guess the passphrase"
    checks = (Raise("leap.soledad.secrets", "check_kdf_params", "guess the passphrase"),)
    instead = AuthFailed

    async def on_challenge(self, challenge: LoginChallenge) -> LoginChallenge:
        self.asked += 1
        kdf = msgspec.structs.replace(challenge.kdf, memory_kib=64, time_cost=1)
        return msgspec.structs.replace(challenge, kdf=kdf)

    async def harmed(self, world: World) -> bool:
        return self.proofs > 0


class AskForCostlyKdf(LoginAttack):
    """Asks to stretch the passphrase for longer than a machine should be kept busy."""

    # Here just above the ceiling; without the check there would be none.
    expected = CostlyKdf
    says = "more than a log-in may cost"
    checks = (Raise("leap.soledad.secrets", "check_kdf_params", "more than a log-in may cost"),)
    instead = AuthFailed

    async def on_challenge(self, challenge: LoginChallenge) -> LoginChallenge:
        self.asked += 1
        kdf = msgspec.structs.replace(challenge.kdf, time_cost=17)
        return msgspec.structs.replace(challenge, kdf=kdf)

    async def harmed(self, world: World) -> bool:
        return self.proofs > 0


class PretendToKnowPassphrase(LoginAttack):
    """Cannot prove that it holds the account's verifier, and gives a token all the same."""

    expected = ImpostorProvider
    says = "could not prove"
    checks = (Whole("leap.soledad.login", "SrpClient.check"),)

    async def on_login(self, reply: LoginReply) -> LoginReply:
        self.asked += 1
        return msgspec.structs.replace(reply, srp_m2=os.urandom(32))


class AnswerNoSecrets(LoginAttack):
    """Answers a log-in with empty secrets."""

    # Nothing here makes new secrets in their place: without the check, nothing opens.
    guarantee = "G4"
    expected = MissingSecrets
    says = "no secrets"
    checks = (
        Text(
            "leap.soledad.enrol",
            "fetch_secrets",
            "not reply.wraps.passphrase or not reply.wraps.recovery or (not reply.keyset)",
            "False",
        ),
    )
    instead = ForgedEnvelope

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return msgspec.structs.replace(reply, wraps=Wraps(passphrase=b"", recovery=b""))


class DenySecrets(LoginAttack):
    """Says that there is nothing where the account's secrets should be."""

    # Without the check the refusal itself is what a person reads; nothing is made anew in either case.
    guarantee = "G4"
    expected = MissingSecrets
    says = "no secrets"
    checks = (Text("leap.soledad.enrol", "fetch_secrets", "error.status == 404", "False"),)
    instead = Refused

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != f"{API}/secrets":
            return await super().on_http(request, handler)
        self.asked += 1
        return refuse(NotFound("there is nothing at this address"))


class ForgeSecrets(LoginAttack):
    """Alters the wrapped secrets."""

    guarantee = "G4"
    expected = ForgedEnvelope
    says = "was altered"
    checks = (TAG,)

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        wrap = reply.wraps.passphrase
        wraps = msgspec.structs.replace(reply.wraps, passphrase=wrap[:-1] + bytes([wrap[-1] ^ 1]))
        return msgspec.structs.replace(reply, wraps=wraps)


class GiveKeysetOfOtherAccount(LoginAttack):
    """Gives a new device of alice the keyset of bob, and takes what is made of it."""

    # The root key out of the wrapped secrets is asked for four times.
    guarantee = "G4"
    expected = BadKeyset
    says = "not signed by the account's root key"
    checks = (
        SIGNATURE,
        OTHER_ROOT,
        Whole("leap.soledad.secrets", "check_belongs"),
        Raise("leap.soledad.keyset", "sign_keyset", "names another root key"),
    )

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        bob = await self.accounts.find_verifier(BOB, with_recovery=False)
        assert bob is not None
        his = await super(type(self.accounts), self.accounts).secrets(bob.account)
        self.asked += 1
        return SecretsReply(wraps=reply.wraps, keyset=his.keyset, keyset_version=his.keyset_version)

    async def on_put_keyset(self, change: KeysetPut) -> bool:
        return True

    async def harmed(self, world: World) -> bool:
        return self.enrolled


class GiveOtherAccountsSecrets(LoginAttack):
    """Gives a new device of alice the wrapped secrets and the keyset of bob, so that it would join his account."""

    # Keys and the address inside the wrap tell the accounts apart; once more what is inside is compared, in one step.
    guarantee = "G4"
    expected = ForgedEnvelope
    says = "was altered, or belongs to another place"
    bobs_key: ClassVar[bytes]
    joined = ""

    @staticmethod
    def open_for_anyone(reply: SecretsReply, *_: Any) -> tuple[AccountSecrets, Keyset]:
        key = GiveOtherAccountsSecrets.bobs_key
        secrets = unwrap(reply.wraps.passphrase, key, wrap_context(BOB))
        return secrets, open_keyset(reply.keyset, root_public=secrets.root_public)

    checks = (Instead("leap.soledad.enrol", "open_secrets", open_for_anyone),)

    async def act(self, world: World) -> None:
        bob = await self.accounts.find_verifier(BOB, with_recovery=False)
        assert bob is not None
        self.bob = bob
        GiveOtherAccountsSecrets.bobs_key = derive_passphrase(PASSPHRASE, bob.verifier.kdf).wrap_key
        if self.evil:
            self.joined = (await world.log_in("tablet")).material.address
        else:
            await super().act(world)

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return await super(type(self.accounts), self.accounts).secrets(self.bob.account)

    async def on_put_keyset(self, change: KeysetPut) -> bool:
        return True

    async def harmed(self, world: World) -> bool:
        return self.joined == BOB


class MiscountKeyset(LoginAttack):
    """Counts another version of the keyset than the keyset itself."""

    guarantee = "G4"
    expected = BadKeyset
    says = "counts another version"
    checks = (Raise("leap.soledad.enrol", "open_secrets", "counts another version"),)

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return msgspec.structs.replace(reply, keyset_version=reply.keyset_version + 1)


LOGIN_ATTACKS: tuple[type[Attack], ...] = (
    AskForWeakKdf,
    AskForCostlyKdf,
    PretendToKnowPassphrase,
    AnswerNoSecrets,
    DenySecrets,
    ForgeSecrets,
    GiveKeysetOfOtherAccount,
    GiveOtherAccountsSecrets,
    MiscountKeyset,
)
