"""SCRAM-SHA-256: the example of RFC 7677, both sides against each other, and what must fail."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp.auth import BadExchange
from leap.mail.smtp.scram import (
    NotProved,
    Proved,
    ScramAccount,
    ScramClient,
    ScramServer,
    WantsAccount,
    make_verifier,
)

SALT = b"a salt of 16 ..."


def zeros(size: int) -> bytes:
    return b"\0" * size


def exchange(
    password: str, *right: str, user: str = "alice@example.test"
) -> tuple[ScramClient, ScramServer, bytes | WantsAccount | Proved | NotProved]:
    client, server = ScramClient(user, password, zeros), ScramServer(lambda size: b"\1" * size)
    wanted = server.step(client.first())
    assert wanted == WantsAccount(user)
    account = ScramAccount(user, SALT, tuple(make_verifier(one, SALT) for one in right))
    return client, server, server.step(client.final(server.use(account)))


def test_the_example_of_rfc_7677() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    server = ScramServer(zeros)
    assert server.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == WantsAccount("user")
    server.use(ScramAccount("user", salt, (make_verifier("pencil", salt),)))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    server._nonce = nonce  # the one of the example, whose server drew it
    server._server_first = f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = f"c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert server.step(final.encode()) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert server.step(b"") == Proved("user")


def test_each_of_an_accounts_passwords_is_right() -> None:
    for password in ("one", "two", "three"):
        client, server, said = exchange(password, "one", "two", "three")
        assert isinstance(said, bytes)
        client.check(said)
        assert server.step(b"") == Proved("alice@example.test")


@pytest.mark.parametrize("right", [(), ("other",), ("other", "another")])
def test_a_password_that_is_none_of_them_is_wrong(right: tuple[str, ...]) -> None:
    assert isinstance(exchange("sesame", *right)[2], NotProved)


def test_a_server_without_the_verifier_is_noticed() -> None:
    client, _, said = exchange("sesame", "sesame")
    assert isinstance(said, bytes)
    for wrong in (b"v=" + base64.b64encode(b"x" * 32), b"", b"e=other-error", said + b"x"):
        with pytest.raises(BadExchange):
            client.check(wrong)


def test_a_recorded_proof_is_worth_nothing_in_another_exchange() -> None:
    client = ScramClient("alice", "sesame", zeros)
    account = ScramAccount("alice", SALT, (make_verifier("sesame", SALT),))
    first = ScramServer(lambda size: b"\1" * size)
    first.step(client.first())
    proof = client.final(first.use(account))
    second = ScramServer(lambda size: b"\2" * size)
    second.step(client.first())
    second.use(account)
    with pytest.raises(BadExchange):
        second.step(proof)


@pytest.mark.parametrize("iterations", [1, 4_095, 200_001, 4_000_000_000])
def test_a_client_does_not_do_what_a_server_may_not_ask(iterations: int) -> None:
    client = ScramClient("alice", "sesame", zeros)
    nonce = client.first().rpartition(b"r=")[2].decode()
    with pytest.raises(BadExchange):
        client.final(f"r={nonce}x,s=AAAA,i={iterations}".encode())


def test_a_name_with_a_comma_and_an_equals_sign_survives() -> None:
    said = exchange("p", "p", user="a,b=c@example.test")[2]
    assert isinstance(said, bytes)


MESSAGES = [
    b"n,,n=alice,r=abc",
    b"y,,n=alice,r=abc",
    b"n,,n=alice,r=abc,ext=1",
    b"c=biws,r=abc" + base64.b64encode(b"\1" * 18) + b",p=AAAA",
    b"",
    b"n,,m=x,n=alice,r=abc",
    b"n,,n=al=ice,r=abc",
    b"n,,n=,r=abc",
    b"\xff",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=60)), max_size=4))
def test_whatever_is_said_to_a_server_proves_nothing(messages: list[bytes]) -> None:
    server = ScramServer(lambda size: b"\1" * size)
    account = ScramAccount("alice", SALT, (make_verifier("sesame", SALT),))
    for message in messages:
        try:
            step = server.step(message)
        except BadExchange:
            return
        assert not isinstance(step, Proved)
        if isinstance(step, WantsAccount):
            server.use(account)
        if isinstance(step, NotProved):
            return
