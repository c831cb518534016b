"""Vectors of log-in: SRP-6a with both sides' secrets fixed."""

from __future__ import annotations

from typing import Any

import srp
from srp import _pysrp as pure

from leap.soledad.login import GROUP, HASH, identity_of
from tests.soledad.people import seeded


def _case(name: str, identity: str) -> dict[str, Any]:
    draw = seeded(f"srp {name}")
    auth_key, salt, a, b = draw(32), draw(16), draw(32), draw(32)
    password = auth_key.hex()
    _, verifier = _verifier(identity, password, salt)
    user = srp.User(identity, password, hash_alg=HASH, ng_type=GROUP, bytes_a=a)
    public_a = user.start_authentication()[1]
    server = srp.Verifier(
        identity, salt, verifier, public_a, hash_alg=HASH, ng_type=GROUP, bytes_b=b
    )
    _, public_b = server.get_challenge()
    proof = user.process_challenge(salt, public_b)
    answer = server.verify_session(proof)
    assert answer is not None
    user.verify_session(answer)
    assert user.authenticated()
    return {
        "name": name,
        "identity": identity,
        "auth_key": auth_key.hex(),
        "salt": salt.hex(),
        "verifier": bytes(verifier).hex(),
        "a": a.hex(),
        "A": bytes(public_a).hex(),
        "b": b.hex(),
        "B": bytes(public_b).hex(),
        "M1": bytes(proof).hex(),
        "M2": bytes(answer).hex(),
    }


def _verifier(identity: str, password: str, salt: bytes) -> tuple[bytes, bytes]:
    """v = g^x for a given salt; the library's own function draws one."""
    hash_class = pure._hash_map[HASH]
    modulus, generator = pure.get_ng(GROUP, None, None)
    x = pure.gen_x(hash_class, salt, identity, password)
    return salt, pure.long_to_bytes(pow(generator, x, modulus))


def login() -> dict[str, Any]:
    address = "alice@example.test"
    one = _case("passphrase", identity_of(address))
    other = _case("recovery code", identity_of(address, with_recovery=True))
    given = {k: one[k] for k in ("identity", "auth_key", "salt", "a", "A")}
    prime, _ = pure.get_ng(GROUP, None, None)
    size = (prime.bit_length() + 7) // 8
    return {
        "format": "login 1",
        "text": "docs/formats/secrets.md",
        "cases": [one, other],
        "refused": [
            {
                "name": "B is 0",
                **given,
                "B": "00",
                "error": "ImpostorProvider",
                "why": "any passphrase would do",
            },
            {
                "name": "B is N",
                **given,
                "B": prime.to_bytes(size).hex(),
                "error": "ImpostorProvider",
                "why": "0 modulo N",
            },
            {
                "name": "B is larger than the group",
                **given,
                "B": "01" * (size + 1),
                "error": "ImpostorProvider",
                "why": "out of range",
            },
            {
                "name": "a salt of 4 octets",
                **{**given, "salt": "00" * 4},
                "B": one["B"],
                "error": "ImpostorProvider",
                "why": "too short",
            },
            {
                "name": "another M2",
                **given,
                "B": one["B"],
                "M2": "00" * 32,
                "error": "ImpostorProvider",
                "why": "it does not know the verifier",
            },
        ],
    }
