"""Log-in by SRP-6a: the provider checks a passphrase it never sees, and proves that it holds the verifier.

    client                                  provider
      A = g^a            ── start ──>
                         <── salt, B ──     B = k·v + g^b
      M1 = H(…, K)       ── finish ─>       refuses unless M1 is right
      checks M2          <── M2 ─────       M2 = H(A, M1, K)

4096-bit group of RFC 5054 (g = 5), SHA-256, without that RFC's padding, as the `srp` library does by default. The
SRP password is the hex form of the authentication key (Argon2id, then HKDF): a stolen verifier costs one Argon2id
per guess.

Invariants:
* The identity is the lower-case address, for the recovery code's verifier with "/recovery" behind it.
* No reply is believed before M2 was checked (`check`).
* B is refused when it is 0 modulo N (RFC 5054 section 2.5.4) or out of range.
"""

from __future__ import annotations

import hmac

import srp
from srp import _pysrp

from leap.soledad.errors import ImpostorProvider

HASH = srp.SHA256
GROUP = srp.NG_4096
SALT_SIZE = 16
GROUP_SIZE = 512  # octets of a number of the group

_MODULUS: int = _pysrp.get_ng(GROUP, None, None)[0]


def identity_of(address: str, *, with_recovery: bool = False) -> str:
    """The SRP identity of an address."""
    return address.lower() + ("/recovery" if with_recovery else "")


def srp_verifier(identity: str, auth_key: bytes) -> tuple[bytes, bytes]:
    """(salt, verifier) for the provider to keep. A few ms of CPU."""
    salt, verifier = srp.create_salted_verification_key(
        identity, auth_key.hex(), hash_alg=HASH, ng_type=GROUP, salt_len=SALT_SIZE
    )
    return bytes(salt), bytes(verifier)


class SrpClient:
    """One log-in, client side. `start` and `respond` cost some ms of CPU: call them outside the event loop.

    The key may be given late, as the provider says only with its challenge how to derive it.
    """

    def __init__(self, identity: str, auth_key: bytes | None = None) -> None:
        self._identity = identity
        self._auth_key = auth_key
        self._secret = b""
        self._public = b""
        self._expected: bytes | None = None

    def start(self) -> bytes:
        """A, to send first."""
        if not self._public:
            # The library wants the password now, but uses it only for the challenge: this one makes the exponent.
            user = srp.User(self._identity, "", hash_alg=HASH, ng_type=GROUP)
            self._secret = bytes(user.get_ephemeral_secret())
            self._public = bytes(user.start_authentication()[1])
        return self._public

    def respond(self, salt: bytes, server_public: bytes, auth_key: bytes | None = None) -> bytes:
        """M1 for a challenge; raises ImpostorProvider when the challenge breaks the rules of SRP-6a."""
        key = auth_key or self._auth_key
        if key is None:
            raise ValueError("no authentication key was given")
        if not 8 <= len(salt) <= 64 or not 1 <= len(server_public) <= GROUP_SIZE:
            raise ImpostorProvider("the provider's log-in challenge is malformed")
        if int.from_bytes(server_public, "big") % _MODULUS == 0:  # RFC 5054 section 2.5.4
            raise ImpostorProvider("the provider's log-in challenge would accept any passphrase")
        public = self.start()
        user = srp.User(
            self._identity,
            key.hex(),
            hash_alg=HASH,
            ng_type=GROUP,
            bytes_a=self._secret,
            bytes_A=public,
        )
        proof = user.process_challenge(salt, server_public)
        if proof is None:
            raise ImpostorProvider("the provider's log-in challenge would accept any passphrase")
        self._expected = bytes(user.H_AMK)
        return bytes(proof)

    def check(self, server_proof: bytes) -> None:
        """Raise ImpostorProvider unless M2 proves that the provider holds this account's verifier."""
        if self._expected is None or not hmac.compare_digest(self._expected, server_proof):
            raise ImpostorProvider("the provider could not prove that it knows this account")
