"""Vectors of what belongs to an account: keyset, wrapped secrets, sealed mail, the vault file."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leap.soledad.errors import SoledadError
from leap.soledad.inbox_seal import open_from_inbox, seal_to_inbox
from leap.soledad.keyset import _LABEL, sign_keyset
from leap.soledad.secrets import (
    derive_passphrase,
    derive_recovery,
    floor_kdf_params,
    new_recovery_code,
    recovery_sealing_seed,
    wrap,
    wrap_context,
)
from leap.soledad.vault import create_vault
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of, seeded

PASSPHRASE = "correct hörse battery"
ADDRESS = "alice@example.test"


def plain(value: Any) -> Any:
    """A value as JSON has it, octets as hex."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def keyset() -> dict[str, Any]:
    secrets = secrets_of("alice")
    first = keyset_of(secrets, device_of("laptop"))
    second = first.with_device(device_of("phone").public(NOW))
    signed = [sign_keyset(one, secrets.root_key) for one in (first, second)]
    cases = [
        {
            "name": name,
            "root_public": secrets.root_public.hex(),
            "fields": plain(one),
            "hash": one.hash.hex(),
            "signed": data.hex(),
        }
        for name, one, data in zip(
            ("the first", "its successor"), (first, second), signed, strict=True
        )
    ]
    root = secrets.root_public
    body = signed[0][65:]

    def refused(name: str, why: str, data: bytes, root_public: bytes = root) -> dict[str, Any]:
        return {
            "name": name,
            "root_public": root_public.hex(),
            "signed": data.hex(),
            "error": "BadKeyset",
            "why": why,
        }

    def signed_body(data: bytes) -> bytes:
        return b"\x01" + secrets.root_key.sign(_LABEL + data) + data

    fields = msgspec.msgpack.decode(body)
    other = Ed25519PrivateKey.from_private_bytes(seeded("mallory")(32))
    return {
        "format": "keyset 1",
        "text": "docs/formats/keyset.md",
        "cases": cases,
        "refused": [
            refused("format 2", "the first octet is not 1", b"\x02" + signed[0][1:]),
            refused(
                "altered",
                "the signature does not hold",
                signed[0][:-1] + bytes([signed[0][-1] ^ 1]),
            ),
            refused(
                "signed by another key",
                "not the pinned root key's signature",
                b"\x01" + other.sign(_LABEL + body) + body,
            ),
            refused(
                "another root key pinned",
                "not the pinned root key's signature",
                signed[0],
                other.public_key().public_bytes_raw(),
            ),
            refused(
                "an unknown field",
                "only the canonical form counts",
                signed_body(msgspec.msgpack.encode({**fields, "more": 1})),
            ),
            refused(
                "fields in another order",
                "only the canonical form counts",
                signed_body(msgspec.msgpack.encode(dict(reversed(fields.items())))),
            ),
            refused(
                "another account's id",
                "the id is the hash of the root key",
                signed_body(msgspec.msgpack.encode({**fields, "account_id": "0" * 32})),
            ),
            refused(
                "an address in capitals",
                "addresses are lower case",
                signed_body(msgspec.msgpack.encode({**fields, "address": "Alice@example.test"})),
            ),
            refused(
                "no device",
                "an account has a device",
                signed_body(msgspec.msgpack.encode({**fields, "devices": []})),
            ),
            refused(
                "a device twice",
                "devices are distinct",
                signed_body(msgspec.msgpack.encode({**fields, "devices": fields["devices"] * 2})),
            ),
            refused(
                "a first one with a predecessor",
                "version 1 has none",
                signed_body(msgspec.msgpack.encode({**fields, "previous": bytes(32)})),
            ),
        ],
    }


def secrets() -> dict[str, Any]:
    made = secrets_of("alice")
    kdf = floor_kdf_params(seeded("kdf"))
    keys = derive_passphrase(PASSPHRASE, kdf)
    code = new_recovery_code(seeded("recovery"))
    recovered = derive_recovery(code)
    by_passphrase, by_recovery = (
        wrap_context(ADDRESS, with_recovery=flag) for flag in (False, True)
    )
    wrapped = wrap(made, keys.wrap_key, by_passphrase, seeded("wrap"))
    wrapped_again = wrap(made, recovered.wrap_key, by_recovery, seeded("wrap again"))
    weak = [
        ("one pass", {"time_cost": 1}),
        ("8 MiB", {"memory_kib": 8192}),
        ("no lanes", {"lanes": 0}),
        ("too many passes", {"time_cost": 17}),
        ("1 GiB", {"memory_kib": 1 << 20}),
    ]
    return {
        "format": "secrets 1",
        "text": "docs/formats/secrets.md",
        "cases": [
            {
                "name": "passphrase",
                "passphrase": PASSPHRASE,
                "kdf": plain(kdf),
                "auth_key": keys.auth_key.hex(),
                "wrap_key": keys.wrap_key.hex(),
                "context": by_passphrase,
                "wrapped": wrapped.hex(),
                "salt": wrapped[5:37].hex(),
                "fields": plain(made),
            },
            {
                "name": "recovery code",
                "words": code,
                "auth_key": recovered.auth_key.hex(),
                "wrap_key": recovered.wrap_key.hex(),
                "sealing_seed": recovery_sealing_seed(code).hex(),
                "context": by_recovery,
                "wrapped": wrapped_again.hex(),
                "salt": wrapped_again[5:37].hex(),
                "fields": plain(made),
            },
        ],
        "refused": [
            *(
                {
                    "name": name,
                    "passphrase": PASSPHRASE,
                    "kdf": {**plain(kdf), **change},
                    "error": "CostlyKdf" if "too many" in name or "GiB" in name else "WeakKdf",
                    "why": "outside floor and ceiling",
                }
                for name, change in weak
            ),
            {
                "name": "another context",
                "wrap_key": keys.wrap_key.hex(),
                "context": by_recovery,
                "wrapped": wrapped.hex(),
                "error": "ForgedEnvelope",
                "why": "the context is part of the key",
            },
            {
                "name": "another key",
                "wrap_key": keys.auth_key.hex(),
                "context": by_passphrase,
                "wrapped": wrapped.hex(),
                "error": "ForgedEnvelope",
                "why": "the tag does not hold",
            },
            {
                "name": "a mistyped word",
                "words": code.replace(code.split()[3], "zebra", 1),
                "error": "WrongKey",
                "why": "the checksum of BIP 39 does not hold",
            },
            {
                "name": "23 words",
                "words": " ".join(code.split()[:23]),
                "error": "WrongKey",
                "why": "a recovery code has 24",
            },
        ],
    }


def inbox(before: Path) -> dict[str, Any]:
    """HPKE draws its own randomness: what an earlier run sealed is kept as long as it opens."""
    made = secrets_of("alice")
    [key] = made.inbox_keys
    mail = b"Subject: hello\r\n\r\nThe heron stands still.\r\n"
    sealed = b""
    try:
        sealed = bytes.fromhex(json.loads(before.read_text())["cases"][0]["sealed"])
        if open_from_inbox(sealed, made.inbox_keys, made.account_id) != mail:
            sealed = b""
    except (OSError, ValueError, LookupError, SoledadError):
        sealed = b""
    sealed = sealed or seal_to_inbox(mail, key.public, made.account_id)

    def case(name: str, data: bytes, **fields: Any) -> dict[str, Any]:
        shown = {"account": made.account_id, "key_id": key.key_id, "seed": key.seed.hex()}
        return {"name": name, **shown, "sealed": data.hex(), **fields}

    public = key.public.public.hex()
    return {
        "format": "inbox 1",
        "text": "docs/formats/inbox.md",
        "cases": [case("a mail", sealed, public=public, plaintext=mail.hex())],
        "refused": [
            case("empty", b"", error="ForgedEnvelope", why="there is nothing"),
            case(
                "suite 2",
                b"\x02" + sealed[1:],
                error="UnknownSuite",
                why="the first octet is not 1",
            ),
            case(
                "to another key",
                b"\x01" + bytes(16) + sealed[17:],
                error="ForgedEnvelope",
                why="no such key is held",
            ),
            case(
                "altered",
                sealed[:-1] + bytes([sealed[-1] ^ 1]),
                error="ForgedEnvelope",
                why="the tag does not hold",
            ),
            case(
                "cut within the encapsulated key",
                sealed[:500],
                error="ForgedEnvelope",
                why="it is too short",
            ),
            {
                **case(
                    "another account",
                    sealed,
                    error="ForgedEnvelope",
                    why="the account is part of info",
                ),
                "account": "0" * 32,
            },
        ],
    }


def vault() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vault.json"
        key = asyncio.run(create_vault(path, PASSPHRASE, random=seeded("vault")))
        text = path.read_text()
    fields = json.loads(text)

    def refused(name: str, why: str, **changes: Any) -> dict[str, Any]:
        passphrase = changes.pop("passphrase", PASSPHRASE)
        return {
            "name": name,
            "passphrase": passphrase,
            "file": json.dumps({**fields, **changes}),
            "error": "WrongKey",
            "why": why,
        }

    return {
        "format": "vault 1",
        "text": "docs/formats/vault.md",
        "cases": [{"name": "a vault", "passphrase": PASSPHRASE, "file": text, "key": key.hex()}],
        "refused": [
            refused("another passphrase", "the tag does not hold", passphrase="another one"),
            refused("a newer format", "the format is not 1", format=2),
            refused("too little memory", "below the floor", memory_kib=1024),
            refused("too many passes", "above the ceiling", time_cost=1000),
            refused("fewer passes", "the costs are authenticated", time_cost=2),
            refused("an unknown field", "no field is passed over", more=1),
        ],
    }
