"""What the daemon does for `bitmask keys` about the account's own keys.

A passphrase lives as long as its command. What changes keys waits for its turn (`AccountSessions.changing`); it is
durable here before the provider hears of it, and what could not be published then is published later by itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from leap.bitmask.local_api import CommandRefused, text, text_or_none
from leap.bitmask.own_key_state import own_key_state
from leap.bitmask.refusals import check_new_passphrase
from leap.bitmask.sentences import sentence
from leap.bitmask.session import AccountSession
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.autocrypt.setup_code import new_setup_code
from leap.keymanager.autocrypt.setup_message import code_begins, write_setup_message
from leap.keymanager.backup import is_setup_file, read_backup, write_backup
from leap.keymanager.errors import KeyManagerError, NoOwnKey, NoSuchKey
from leap.keymanager.offered_key import HasEnded, OtherAddress, fit_for_use
from leap.keymanager.openpgp import (
    NoSecretKey,
    OpenPGPError,
    SecretKey,
    WrongPassphrase,
    offload,
    read_certificates,
)
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.editing import RevocationReason
from leap.keymanager.own_keys import Kept
from leap.mail import Account

BROUGHT = "imported at sign-up"  # the evidence of a key somebody had already
REASONS = {
    "none": RevocationReason.NONE,
    "superseded": RevocationReason.SUPERSEDED,
    "compromised": RevocationReason.COMPROMISED,
    "retired": RevocationReason.RETIRED,
}


def own_key_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""
    commands = OwnKeyCommands(sessions)
    return {
        "keys-inspect": commands.inspect,
        "keys-own-import": commands.import_keys,
        "keys-own-use": commands.use,
        "keys-own-rotate": commands.rotate,
        "keys-own-revoke": commands.revoke,
        "keys-own-backup": commands.backup,
        "keys-own-setup-message": commands.setup_message,
    }


class OwnKeyCommands:
    """The commands on the accounts of one daemon."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    async def inspect(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is in a file of secret keys, before anything is done with it; no account is needed."""
        data, address = octets(arguments, "key"), text(arguments, "address")
        if is_setup_file(data):
            return {"setup_message": True, "begins": code_begins(data), "locked": True, "keys": []}
        with refusals():
            certificates = await asyncio.to_thread(read_certificates, data)
            try:
                await asyncio.to_thread(read_backup, data, None)
                locked = False
            except WrongPassphrase:
                locked = True
        return {
            "setup_message": False,
            "locked": locked,
            "keys": [
                {
                    "fingerprint": one.fingerprint,
                    "user_ids": list(one.user_ids),
                    "carries": address in one.addresses,
                    "expires": one.expires,
                    "revoked": one.revoked,
                }
                for one in certificates
            ],
        }

    async def import_keys(self, arguments: dict[str, Any]) -> dict[str, Any]:
        data = octets(arguments, "key")
        passphrase = text_or_none(arguments, "key_passphrase")
        use = bool(arguments.get("use"))
        async with self._sessions.changing(text(arguments, "address")) as session:
            with refusals():
                kept = await asyncio.to_thread(read_backup, data, passphrase)
                before = {key.fingerprint for key in await session.keys.own_keys()}
                chosen: SecretKey | None = None
                if use:
                    at = choose(kept, session.address)
                    fit = await asyncio.to_thread(_fit, kept[at].key, session, arguments)
                    kept[at] = kept[at]._replace(key=fit)
                    chosen = fit
                await session.keys.own.add_all(kept, source="imported", use=chosen)
                published = await _published(session)
            keys = [
                {
                    "fingerprint": key.fingerprint,
                    "user_ids": list(key.certificate.user_ids),
                    "new": key.fingerprint not in before,
                    "locked_parts": list(key.locked),
                }
                for key, _ in kept
            ]
            return {"address": session.address, "keys": keys, "in_use": use, **published}

    async def use(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async with self._sessions.changing(text(arguments, "address")) as session:
            with refusals():
                kept = await session.keys.own.find(text(arguments, "fingerprint"))
                fit = await asyncio.to_thread(_fit, kept.key, session, arguments)
                await session.keys.own.add(fit, source="chosen here", use=True)
                return {"address": session.address, **await _published(session)}

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async with self._sessions.changing(text(arguments, "address")) as session:
            with refusals():
                before = await session.keys.own.key()
                changes = session.keys.own_changes
                version, post_quantum = key_version(arguments), bool(arguments.get("post_quantum"))
                if arguments.get("primary"):
                    after = await changes.rotate_key(
                        version=version, post_quantum=post_quantum or None
                    )
                else:
                    after = await changes.rotate_subkey(post_quantum=post_quantum)
                published = await _published(session)
                old = (await session.keys.own.find(before.fingerprint)).key.certificate
                new, now = after.certificate, session.keys.own.now()
                vouched = bool(certifiers(new, [old], session.address, now))
            result = {"address": session.address, "was": before.fingerprint}
            return {**result, "vouched": vouched, **published}

    async def revoke(self, arguments: dict[str, Any]) -> dict[str, Any]:
        reason = REASONS.get(text(arguments, "reason"))
        if reason is None:
            raise CommandRefused("bad-request", f"A reason is one of {', '.join(REASONS)}.")
        async with self._sessions.changing(text(arguments, "address")) as session:
            with refusals():
                name = text_or_none(arguments, "fingerprint")
                name = name or (await session.keys.own.key()).fingerprint
                revoked = await session.keys.own_changes.revoke(
                    name,
                    reason=reason,
                    text=str(arguments.get("text") or ""),
                    replace=bool(arguments.get("replace")),
                )
                published = await _published(session)
            return {"address": session.address, "revoked": revoked.fingerprint, **published}

    async def backup(self, arguments: dict[str, Any]) -> dict[str, Any]:
        passphrase = text(arguments, "passphrase")
        check_new_passphrase(passphrase)
        session = self._sessions.get(text(arguments, "address"))
        with refusals():
            await session.keys.own.key()
            kept = await session.keys.own.kept()
            file = await asyncio.to_thread(write_backup, kept, session.address, passphrase)
        return {
            "address": session.address,
            "armored": file.decode("utf-8"),
            "keys": [key.fingerprint for key, _ in kept],
        }

    async def setup_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The key in use as an Autocrypt Setup Message; put into INBOX if `deliver`, else answered."""
        session = self._sessions.get(text(arguments, "address"))
        code = new_setup_code()
        with refusals():
            key = await session.keys.own.key()
            now = session.keys.own.now()
            mail = await asyncio.to_thread(write_setup_message, key, code, session.address, now=now)
        result = {"address": session.address, "setup_code": code, "keys": [key.fingerprint]}
        if not arguments.get("deliver"):
            return {**result, "message": mail.decode("ascii")}
        await (await Account(session.account).collection("INBOX")).add(mail)
        return result


def octets(arguments: dict[str, Any], name: str) -> bytes:
    """An argument in base64; raises CommandRefused."""
    try:
        return base64.b64decode(text(arguments, name), validate=True)
    except binascii.Error as error:
        raise CommandRefused("bad-request", f"{name!r} is not in base64.") from error


def choose(kept: list[Kept], address: str) -> int:
    """Which of several keys is meant for use: the only one, or the only good one of the address."""
    if len(kept) == 1:
        return 0
    fit = [
        n
        for n, (key, _) in enumerate(kept)
        if address in key.certificate.addresses and not key.certificate.revoked
    ]
    if len(fit) != 1:
        raise CommandRefused(
            "which-key",
            f"There are {len(kept)} keys in this file; import them first, then choose one with `bitmask keys use`.",
        )
    return fit[0]


def key_version(arguments: dict[str, Any]) -> int | None:
    """Of which version a new key is to be; None when nothing is said. Raises CommandRefused."""
    version = arguments.get("key_version")
    if version not in (None, 4, 6):
        raise CommandRefused("bad-request", "Keys are made of version 4 or 6.")
    return version


async def key_for_sign_up(arguments: dict[str, Any], now: float) -> tuple[SecretKey, str] | None:
    """The key somebody signs up with, and where it is from: brought along, or of a kind that was asked for.

    None when it is to be made as usual. Raises CommandRefused.
    """
    address, version = text(arguments, "address"), key_version(arguments)
    if arguments.get("key") is None:
        post_quantum = bool(arguments.get("post_quantum"))
        if version is None and not post_quantum:
            return None
        with refusals():
            made = await offload.generate(
                address, now=now, version=version or 4, post_quantum=post_quantum
            )
        return made, "made here"
    passphrase = text_or_none(arguments, "key_passphrase")
    with refusals():
        kept = await asyncio.to_thread(read_backup, octets(arguments, "key"), passphrase)
        key = kept[choose(kept, address)].key
        return await asyncio.to_thread(_fit_for, key, address, now, arguments), BROUGHT


def _fit(key: SecretKey, session: AccountSession, arguments: dict[str, Any]) -> SecretKey:
    return _fit_for(key, session.address, session.keys.own.now(), arguments)


def _fit_for(key: SecretKey, address: str, now: float, arguments: dict[str, Any]) -> SecretKey:
    return fit_for_use(
        key,
        address,
        now=now,
        with_user_id=bool(arguments.get("add_user_id")),
        with_extension=bool(arguments.get("extend")),
    )


async def _published(session: AccountSession) -> dict[str, Any]:
    """Tries to publish now; says which key is in use and what stands in the way."""
    await session.key_care.publish()
    return await own_key_state(session)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Errors of keys, as one sentence and one word each."""
    try:
        yield
    except HasEnded as error:
        raise CommandRefused("expired", sentence(error)) from error
    except OtherAddress as error:
        raise CommandRefused("other-address", sentence(error)) from error
    except (NoOwnKey, NoSuchKey) as error:
        raise CommandRefused("no-key", sentence(error)) from error
    except KeyManagerError as error:
        raise CommandRefused("key-refused", sentence(error)) from error
    except WrongPassphrase as error:
        raise CommandRefused("wrong-passphrase", sentence(error)) from error
    except NoSecretKey as error:
        raise CommandRefused("no-secret", sentence(error)) from error
    except OpenPGPError as error:
        raise CommandRefused("bad-key", sentence(error)) from error
