"""Log-in by SRP: with the right key, with a wrong one, and with a provider that is not the provider."""

import pytest
import srp
from srp import _pysrp

from leap.soledad.errors import ImpostorProvider
from leap.soledad.login import GROUP, HASH, SrpClient, identity_of, srp_verifier

KEY = bytes(range(32))
IDENTITY = identity_of("Alice@Example.test")
SALT, VERIFIER = srp_verifier(IDENTITY, KEY)
MODULUS = _pysrp.get_ng(GROUP, None, None)[0]


def provider_for(public: bytes, identity: str = IDENTITY, verifier: bytes = VERIFIER):
    return srp.Verifier(identity, SALT, verifier, public, hash_alg=HASH, ng_type=GROUP)


def test_both_sides_prove_themselves():
    login = SrpClient(IDENTITY, KEY)
    provider = provider_for(login.start())
    salt, server_public = provider.get_challenge()
    login.check(provider.verify_session(login.respond(salt, server_public)))


def test_the_key_may_come_after_the_challenge():
    login = SrpClient(IDENTITY)
    provider = provider_for(login.start())
    login.check(provider.verify_session(login.respond(*provider.get_challenge(), KEY)))


def test_both_implementations_of_the_library_agree():
    """Whether OpenSSL is found decides which one a machine uses."""
    login = SrpClient(IDENTITY, KEY)
    provider = _pysrp.Verifier(
        IDENTITY, SALT, VERIFIER, login.start(), hash_alg=HASH, ng_type=GROUP
    )
    login.check(provider.verify_session(login.respond(*provider.get_challenge())))


@pytest.mark.parametrize(
    ("identity", "key"),
    [(IDENTITY, b"x" * 32), (identity_of("bob@example.test"), KEY), (IDENTITY + "/recovery", KEY)],
)
def test_a_wrong_key_or_identity_is_not_let_in(identity, key):
    login = SrpClient(identity, key)
    provider = provider_for(login.start())
    assert provider.verify_session(login.respond(*provider.get_challenge())) is None


def test_a_provider_without_the_verifier_is_found_out():
    login = SrpClient(IDENTITY, KEY)
    impostor = provider_for(login.start(), verifier=srp_verifier(IDENTITY, b"guess" * 7)[1])
    login.respond(*impostor.get_challenge())
    for reply in (
        b"",
        b"\0" * 32,
        impostor.M if hasattr(impostor, "M") and impostor.M else b"x" * 32,
    ):
        with pytest.raises(ImpostorProvider):
            login.check(reply)


def test_nothing_is_believed_before_the_challenge():
    with pytest.raises(ImpostorProvider):
        SrpClient(IDENTITY, KEY).check(b"")


@pytest.mark.parametrize(
    "public", [b"", b"\0", bytes(512), MODULUS.to_bytes(512, "big"), b"\1" * 513], ids=range(5)
)
def test_challenges_that_would_accept_any_passphrase_are_refused(public):
    with pytest.raises(ImpostorProvider):
        SrpClient(IDENTITY, KEY).respond(SALT, public)


@pytest.mark.parametrize("salt", [b"", b"1234567", b"s" * 65])
def test_malformed_salts_are_refused(salt):
    with pytest.raises(ImpostorProvider):
        SrpClient(IDENTITY, KEY).respond(salt, b"\2")


def test_every_log_in_is_new():
    assert SrpClient(IDENTITY, KEY).start() != SrpClient(IDENTITY, KEY).start()
    login = SrpClient(IDENTITY, KEY)
    assert login.start() == login.start()


def test_verifiers_of_one_passphrase_differ():
    assert srp_verifier(IDENTITY, KEY) != srp_verifier(IDENTITY, KEY)
