"""What the daemon does for `bitmask keys` about the keys of correspondents, and lists and exports of all."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from leap.bitmask.key_words import asked_words, key_lines
from leap.bitmask.local_api import CommandRefused, text, text_or_none
from leap.bitmask.own_key_state import own_key_row, use_words
from leap.bitmask.sentences import sentence
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.documents import decisive
from leap.keymanager.errors import (
    HoldsSecretKeys,
    KeyManagerError,
    KeyRefused,
    LookupFailed,
    NoOwnKey,
    NoSuchKey,
)
from leap.keymanager.explanation import offered_instead
from leap.keymanager.key_info import KeyInfo
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import OpenPGPError
from leap.keymanager.trust import level_named

_KINDS: dict[type[Exception], str] = {
    NoSuchKey: "no-key",
    NoOwnKey: "no-key",
    KeyRefused: "key-refused",
    HoldsSecretKeys: "secret-keys",
    LookupFailed: "lookup-failed",
}


def key_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""
    commands = KeyCommands(sessions)
    return {
        "keys-list": commands.keys_list,
        "keys-show": commands.keys_show,
        "keys-find": commands.keys_find,
        "keys-import": commands.keys_import,
        "keys-export": commands.keys_export,
        "keys-compare": commands.keys_compare,
        "keys-verify": commands.keys_verify,
        "keys-policy": commands.keys_policy,
        "keys-block": commands.keys_block,
        "keys-delete": commands.keys_delete,
        "keys-autocrypt": commands.keys_autocrypt,
    }


@contextmanager
def told() -> Iterator[None]:
    """What the key manager refuses becomes one sentence for who asked."""
    try:
        yield
    except (KeyManagerError, OpenPGPError) as error:
        raise CommandRefused(_KINDS.get(type(error), "key-refused"), sentence(error)) from error


class KeyCommands:
    """The commands on the accounts of one daemon; `address` names the account, `of` whose key is meant."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    def _keys(self, arguments: dict[str, Any]) -> KeyManager:
        return self._sessions.get(text(arguments, "address")).keys

    async def keys_list(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        session = self._sessions.get(text(arguments, "address"))
        return [
            {**_row(key), **(await own_key_row(session, key.fingerprint) if key.own else {})}
            for key in await session.keys.list_keys()
        ]

    async def keys_show(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        keys = self._keys(arguments)
        with told():
            found = await keys.show(text(arguments, "of"))
        return [await self._shown(keys, key) for key in found]

    async def _shown(self, keys: KeyManager, key: KeyInfo) -> dict[str, Any]:
        in_use = key.own and (await keys.own.key()).fingerprint == key.fingerprint
        published = await keys.publishing.state() if in_use else None
        advice = "" if key.own else await _autocrypt_advice(keys, key.address)
        theirs = None if key.own else await keys.autocrypt.find_key(key.address)
        lines = key_lines(key, published, advice, theirs)
        if key.own:
            lines.append(use_words(key.fingerprint, in_use=in_use, revoked=key.revoked))
        return {
            **msgspec.to_builtins(key),
            **_row(key),
            **({"in_use": in_use} if key.own else {}),
            "autocrypt": advice,
            "autocrypt_key": theirs.certificate.fingerprint if theirs is not None else "",
            "lines": lines,
        }

    async def keys_find(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys, of = self._keys(arguments), text(arguments, "of")
        asked = await keys.ask(of)
        bound = await keys.keyring.find(of)
        return {
            "address": of,
            "answers": [one._asdict() for one in asked.answers],
            "fingerprint": asked.found.certificate.fingerprint if asked.found else "",
            "level": asked.found.level.word if asked.found else "",
            "known": bound is not None,
            "failure": sentence(asked.failure) if asked.failure else "",
            "barred": asked.found.barred if asked.found else "",
            "lines": asked_words(of, asked),
        }

    async def keys_import(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys = self._keys(arguments)
        try:
            data = base64.b64decode(text(arguments, "data"), validate=True)
        except binascii.Error as error:
            raise CommandRefused("bad-request", "The data of the keys is damaged.") from error
        with told():
            results = await keys.import_certificates(
                data,
                origin=text(arguments, "origin"),
                verified=[str(one) for one in arguments.get("verified") or ()],
            )
        return {"keys": [one._asdict() for one in results]}

    async def keys_export(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys = self._keys(arguments)
        if arguments.get("all"):
            of = [key.fingerprint for key in await keys.list_keys()]
            with told():
                armored = await keys.export_all()
            return {
                "address": "",
                "keys": list(dict.fromkeys(of)),
                "armored": armored.decode("ascii"),
            }
        of_one = text(arguments, "of")
        with told():
            armored = await keys.export(of_one, secret=bool(arguments.get("secret")))
        return {"address": of_one, "armored": armored.decode("ascii")}

    async def keys_compare(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What two people compare, of the key that stands and of the one an alert offers."""
        keys = self._keys(arguments)
        with told():
            return msgspec.to_builtins(await keys.comparison(text(arguments, "of")))  # type: ignore[no-any-return]

    async def keys_verify(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """`how`: "compared" with `fingerprint`, "keep", "accept", "take-back"."""
        verifying, of = self._keys(arguments).verifying, text(arguments, "of")
        how = text(arguments, "how")
        with told():
            if how == "compared":
                bound = await verifying.verify(of, text(arguments, "fingerprint"))
            elif how == "keep":
                bound = await verifying.keep(of)
            elif how == "accept":
                bound = await verifying.accept(of)
            elif how == "take-back":
                bound = await verifying.take_back(of)
            else:
                raise CommandRefused("bad-request", f"Verifying knows no {how!r}.")
        level = bound.level
        return {
            "address": of,
            "fingerprint": bound.certificate.fingerprint,
            "level": level.word,
            "level_words": level.words,
        }

    async def keys_policy(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys, of = self._keys(arguments), text(arguments, "of")
        policy = text_or_none(arguments, "policy")
        if policy is None:
            contact = await keys.contacts.find(of)
        else:
            if policy not in ("prefer", "require", "never", "default"):
                raise CommandRefused("bad-request", f"There is no policy {policy!r}.")
            contact = await keys.contacts.set_policy(of, "" if policy == "default" else policy)
        sign = text_or_none(arguments, "sign")
        if sign is not None:
            if sign not in ("on", "off", "default"):
                raise CommandRefused("bad-request", f"Mail is signed or not, not {sign!r}.")
            contact = await keys.contacts.set_signing(of, "" if sign == "default" else sign)
        return {
            "address": of,
            "policy": contact.policy or "default",
            "sign": contact.sign or "default",
        }

    async def keys_block(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Without a `fingerprint` the key that stands is meant."""
        keys, of = self._keys(arguments), text(arguments, "of")
        fingerprint = text_or_none(arguments, "fingerprint")
        with told():
            if fingerprint is None:
                bound = await keys.keyring.find(of)
                if bound is None:
                    raise NoSuchKey(f"no key is known for {of}")
                fingerprint = bound.certificate.fingerprint
            if arguments.get("undo"):
                contact = await keys.verifying.unblock(of, fingerprint)
            else:
                reason = text_or_none(arguments, "reason") or ""
                contact = await keys.verifying.block(of, fingerprint, reason=reason)
        return {"address": of, "blocked": [msgspec.to_builtins(one) for one in contact.blocked]}

    async def keys_delete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys, of = self._keys(arguments), text(arguments, "of")
        with told():
            fingerprint = await keys.verifying.delete(of)
        await keys.autocrypt.forget(of)  # else the key would be back without a new mail of theirs
        return {"address": of, "fingerprint": fingerprint}

    async def keys_autocrypt(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the account's own mail says it prefers; without a `preference` nothing is changed."""
        keys = self._keys(arguments)
        preference = text_or_none(arguments, "preference")
        if preference == "mutual":
            await keys.autocrypt.set_prefer_encrypt("mutual")
        elif preference == "nopreference":
            await keys.autocrypt.set_prefer_encrypt("nopreference")
        elif preference is not None:
            raise CommandRefused("bad-request", f"There is no preference {preference!r}.")
        return {"address": keys.address, "prefer_encrypt": await keys.autocrypt.prefer_encrypt()}


async def _autocrypt_advice(keys: KeyManager, address: str) -> str:
    """What Autocrypt recommends for a mail to an address; "" when nothing is known by it."""
    if await keys.autocrypt.peer(address) is None:
        return ""
    return (await keys.autocrypt.recommend([address])).advice


def _row(key: KeyInfo) -> dict[str, Any]:
    why = decisive(key.evidence, key.level)
    source = "own" if key.own else why.source if why is not None else ""
    offer = offered_instead(key.level, key.refused)
    return {
        "address": key.address,
        "fingerprint": key.fingerprint,
        "own": key.own,
        "level": key.level,
        "level_words": level_named(key.level).words,
        "source": source,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "can_encrypt": key.can_encrypt,
        "blocked": key.blocked,
        "policy": key.policy or "default",
        "alerts": list(key.alerts),
        "offered": "" if offer is None else offer.fingerprint,
        "user_ids": list(key.user_ids),
    }
