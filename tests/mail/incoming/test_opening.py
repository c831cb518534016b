"""What arrives and what is made of it: own mail, foreign mail, forged fields, and tricks with From."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import Certificate, SecretKey, encrypt, generate, sign_detached
from leap.keymanager.openpgp import message as engine
from leap.keymanager.openpgp.armor import MESSAGE, armor
from leap.mail.incoming.opening import Opened
from leap.mail.incoming.security_fields import without_forged
from leap.mail.outgoing.field_lines import is_reserved, split_header
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.names import GUARD
from leap.mail.outgoing.pgp_mime import wrap
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.travel import DOMAIN, NOW, mail, own_key

ALICE, BOB, EVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "eve"))
OUTER = [("From", ALICE), ("To", BOB), ("Subject", "[...]")]
TRACE = b"Return-Path: <alice@example.test>\r\nReceived: by mx\r\n"


class Ring:
    """A key ring in memory; whom it does not know, it looks up in `directory`."""

    def __init__(self, own: Sequence[SecretKey], known: Iterable[Certificate] = ()) -> None:
        self.own = list(own)
        self.known = list(known)
        self.directory: dict[str, Certificate] = {}
        self.fails = False

    async def own_keys(self) -> list[SecretKey]:
        return self.own

    async def find_signers(self, issuers: Iterable[str]) -> list[Certificate]:
        wanted = set(issuers)
        return [c for c in self.known if wanted & {*c.key_ids, *c.fingerprints}]

    async def find_bound(
        self, address: str, *, seconds: float, issuers: Collection[str]
    ) -> list[Certificate]:
        assert 0 < seconds <= 10
        if bound := [c for c in self.known if address in c.addresses]:
            return bound
        if self.fails:
            raise OSError("no network")
        return [self.directory[address]] if address in self.directory else []

    async def level_of(self, address: str) -> str:
        return "weak-chain" if any(address in c.addresses for c in self.known) else "provider-trust"


@pytest.fixture
def ring() -> Ring:
    return Ring([own_key("bob")], [own_key("alice").certificate, own_key("eve").certificate])


async def opened(raw: bytes, ring: Ring) -> Opened:
    return await open_with_look_ups(raw, ring)


def sealed(payload: bytes, signer: str | None = "alice", outer=OUTER, to: str = "bob") -> bytes:  # type: ignore[no-untyped-def]
    key = own_key(signer) if signer else None
    armored = encrypt(payload, [own_key(to).certificate], key, now=lambda: NOW)
    return TRACE + wrap(outer, None, armored, "=_b")


def ours(message: bytes, signer: str | None = "alice", outer=OUTER) -> bytes:  # type: ignore[no-untyped-def]
    return sealed(protect(message, outer), signer, outer)


def states(one: Opened) -> list[str]:
    return [signature.state for signature in one.security.signatures]


async def test_own_mail_is_fields_of_ours_then_trace_then_what_was_submitted(ring: Ring) -> None:
    raw = mail()
    one = await opened(ours(raw), ring)
    fields, _ = split_header(one.served)
    assert one.served.endswith(TRACE + raw)
    assert [f.name for f in fields[:4]] == [
        "x-leap-encryption",
        "x-leap-signature",
        "return-path",
        "received",
    ]
    assert one.security.encryption == "end-to-end"
    assert states(one) == ["good"]
    assert one.security.signatures[0].signer == ALICE
    assert one.original == ours_original(one)


def ours_original(one: Opened) -> bytes | None:
    assert one.original is not None
    assert one.original.startswith(TRACE)
    assert b"BEGIN PGP MESSAGE" in one.original
    return one.original


async def test_what_is_encrypted_but_not_signed_says_so(ring: Ring) -> None:
    one = await opened(ours(mail(), signer=None), ring)
    assert one.security.encryption == "end-to-end"
    assert states(one) == []
    assert b"X-Leap-Signature: none\r\n" in one.served


async def test_outer_fields_that_people_see_are_not_served_beside_protected_ones(
    ring: Ring,
) -> None:
    outer = [*OUTER, ("Reply-To", EVE), ("Cc", EVE), ("X-Other", "added on the way")]
    one = await opened(sealed(protect(mail(), OUTER), outer=outer), ring)
    assert EVE.encode() not in one.served
    assert b"[...]" not in one.served
    assert b"X-Other" not in one.served


# --- forged fields ----------------------------------------------------------------------------

FORGED = [
    b"X-Leap-Signature: valid\r\n",
    b"x-leap-signature: valid\r\n",
    b"X-LEAP-Encryption : decrypted\r\n",
    b"X-Leap-Signature:\r\n valid\r\n",
    b"X-Leap-Anything: else\r\n",
    b"Subject: a\nX-Leap-Signature: valid\r\n",
    b"Subject: a\rX-Leap-Signature: valid\r\n",
    b"odd line\r\nX-Leap-Signature: valid\r\n",
    b"From x\r\nX-Leap-Signature: valid\r\n",
    b"\x00X-Leap-Signature: valid\r\n",
    b"\xff\xfeX-Leap-Signature: valid\r\n",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("where", ["clear", "outer", "inner of ours", "inner of others", "added"])
async def test_forged_verdict_fields_leave_every_layer(
    ring: Ring, forged: bytes, where: str
) -> None:
    message = forged + mail()
    if where == "clear":
        raw = TRACE + message
    elif where == "outer":
        raw = forged + ours(mail(), None)
    elif where == "inner of ours":
        raw = sealed(protect(message, OUTER), None)
    elif where == "inner of others":
        raw = sealed(b'Content-Type: text/plain; hp="cipher"\r\n' + message, None)
    else:
        head = b'Content-Type: text/plain; hp="cipher"\r\nX-Leap-Payload: v=1; content-type=fresh; added=1\r\n'
        raw = sealed(head + message, None)
    one = await opened(raw, ring)
    first, second, rest = one.served.split(b"\r\n", 2)
    assert first.startswith(b"X-Leap-Encryption: ")
    assert second == b"X-Leap-Signature: none"
    header = rest.partition(b"\r\n\r\n")[0].removeprefix(b"X-Leap-Differs: subject\r\n")
    for line in header.replace(b"\r", b"\n").split(b"\n"):
        assert b"leap-" not in line.lower(), line


async def test_a_payload_that_begins_with_a_continuation_cannot_extend_our_verdict(
    ring: Ring,
) -> None:
    message = b" ; signer=alice@example.test\r\n" + mail()
    payload = protect(message, OUTER)
    armored = encrypt(payload, [own_key("bob").certificate], None, now=lambda: NOW)
    one = await opened(wrap(OUTER, None, armored, "=_b"), ring)
    assert b"X-Leap-Signature: none\r\n" + GUARD + message in one.served
    clear = await opened(message, ring)
    assert clear.served.endswith(b"X-Leap-Signature: none\r\n" + GUARD + message)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"X-Leap-A: b",
                b"\r",
                b"\n",
                b"\r\n",
                b" ",
                b"x",
                b": ",
                b"x-lEAP-:",
                b"S: t",
                b"\t",
                b"\0",
            ]
        ),
        max_size=12,
    ).map(b"".join)
)
@example(b"S: t\rX-Leap-A: b\r\n\r\n")
@example(b"S: t\rX-Leap-A: b\r\rX-Leap-A: b")
def test_nobody_sees_a_reserved_field_after_stripping(raw: bytes) -> None:
    stripped = without_forged(raw)
    assert not any(is_reserved(field.name) for field in split_header(stripped)[0])
    if not any(is_reserved(field.name) for field in split_header(raw)[0]):
        assert stripped == raw


# --- From ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "from_fields",
    [
        b"From: eve@example.test\r\n",
        b"From: alice@example.test\r\nFrom: eve@example.test\r\n",
        b"From: eve@example.test\r\nFrom: alice@example.test\r\n",
        b"From: alice@example.test, eve@example.test\r\n",
        b"From: alice@example.test <eve@example.test>\r\n",
        b"From: alice@example.test:;\r\n",
        b"From: <alice@example.test> <eve@example.test>\r\n",
        b"From: eve@example.test (alice@example.test)\r\n",
        b'From: "alice@example.test" <eve@example.test>\r\n',
        b"From: alice@example.test\x00@eve.test\r\n",
        b"From: alice@example.test\xc2\xa0\r\n",
        b"From: alice@ex\xd0\xb0mple.test\r\n",
        b"From : eve@example.test\r\nFrom: alice@example.test\r\n",
        b"X: y\rFrom: eve@example.test\r\nFrom: alice@example.test\r\n",
        b"X: y\nFrom: eve@example.test\r\nFrom: alice@example.test\r\n",
        b"\x00From: eve@example.test\r\nFrom: alice@example.test\r\n",
        b"",
    ],
)
async def test_a_true_signature_is_good_only_for_the_one_from_its_key_belongs_to(
    ring: Ring, from_fields: bytes
) -> None:
    message = from_fields + b"Subject: x\r\n\r\nhi\r\n"
    outer = [("From", EVE), *OUTER[1:]]
    for raw in (ours(message), ours(message, outer=outer)):
        one = await opened(raw, ring)
        assert states(one) == ["not-from"]
        assert b"X-Leap-Signature: valid" not in one.served


async def test_a_protected_from_that_no_signature_backs_is_not_served(ring: Ring) -> None:
    message = mail()  # inner From: alice
    outer = [("From", EVE), ("To", BOB), ("Subject", "[...]")]
    for signer in (None, "eve"):
        one = await opened(ours(message, signer, outer), ring)
        assert b"From: eve@example.test\r\n" in one.served
        assert ALICE.encode() not in one.served.replace(b"Return-Path: <alice@example.test>", b"")
        assert one.served.endswith(b"\r\n\r\nHello Bob.\r\n")
        assert one.security.note


async def test_a_protected_from_backed_by_its_owners_signature_is_served(ring: Ring) -> None:
    outer = [("From", "list@elsewhere.test"), ("To", BOB), ("Subject", "[...]")]
    one = await opened(ours(mail(), "alice", outer), ring)
    assert states(one) == ["good"]
    assert one.served.endswith(mail())


async def test_a_tag_of_our_provider_is_its_owner_and_of_another_is_not(ring: Ring) -> None:
    own = mail(sender=f"alice+news@{DOMAIN}")
    outer = [("From", f"alice+news@{DOMAIN}"), *OUTER[1:]]
    assert states(await opened(ours(own, outer=outer), ring)) == ["good"]
    stranger = generate("ann@elsewhere.test", now=lambda: NOW - 10)
    ring.known.append(stranger.certificate)
    message = mail(sender="ann+x@elsewhere.test")
    armored = encrypt(
        protect(message, OUTER), [own_key("bob").certificate], stranger, now=lambda: NOW
    )
    outer = [("From", "ann+x@elsewhere.test"), *OUTER[1:]]
    assert states(await opened(wrap(outer, None, armored, "=_b"), ring)) == ["not-from"]


async def test_a_signature_made_for_somebody_else_is_not_good(ring: Ring) -> None:
    payload = protect(mail(), OUTER)
    for_carol = encrypt(payload, [own_key("carol").certificate], own_key("alice"), now=lambda: NOW)
    signed = engine.decrypt(for_carol, [own_key("carol")])
    content = engine.literal_head(len(payload)) + payload
    body = b"".join(
        (
            engine._one_pass(own_key("alice").signing_key(NOW), signed.signatures[0].body),
            content,
            engine.packet(engine.Tag.SIGNATURE, signed.signatures[0].body),
        )
    )
    session = engine.SessionKey(9, bytes(32))
    wrapped = engine.wrap(
        session,
        own_key("bob").certificate.encryption_key(NOW),
        version=3,
        hidden=False,
        random=lambda size: bytes([7]) * size,
    )
    passed_on = armor(wrapped + engine.seal_v1(body, session), MESSAGE)
    one = await opened(wrap(OUTER, None, passed_on, "=_b"), ring)
    assert one.served.endswith(mail())
    assert states(one) == ["bad"]


async def test_an_unknown_signer_is_looked_up_and_a_failed_look_up_is_unknown_key(
    ring: Ring,
) -> None:
    ring.known = []
    assert states(await opened(ours(mail()), ring)) == ["unknown-key"]
    ring.fails = True
    assert states(await opened(ours(mail()), ring)) == ["unknown-key"]
    ring.fails = False
    ring.directory[ALICE] = own_key("alice").certificate
    assert states(await opened(ours(mail()), ring)) == ["good"]


# --- foreign mail ----------------------------------------------------------------------------


async def test_foreign_mail_keeps_outer_fields_and_gets_the_entity_unchanged(ring: Ring) -> None:
    entity = (
        b'Content-Type: multipart/mixed;\r\n boundary="q"\r\nContent-Language: de\r\n'
        b"Subject: not protected\r\n\r\n--q\r\n\r\ntext  \r\n--q--\r\n"
    )
    outer = [("From", ALICE), ("To", BOB), ("Subject", "outer subject"), ("X-Mailer", "m")]
    one = await opened(sealed(entity, outer=outer), ring)
    assert states(one) == ["good"]
    expected = (
        TRACE
        + b"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: outer subject\r\n"
        + b"X-Mailer: m\r\nMIME-Version: 1.0\r\n"
        + b'Content-Type: multipart/mixed;\r\n boundary="q"\r\nContent-Language: de\r\n'
        + b"\r\n--q\r\n\r\ntext  \r\n--q--\r\n"
    )
    assert one.served.split(b"\r\n", 2)[2] == expected


@pytest.mark.parametrize(
    ("parameter", "kept"), [(b'protected-headers="v1"', True), (b'hp="cipher"', False)]
)
async def test_protected_fields_replace_outer_ones(
    ring: Ring, parameter: bytes, kept: bool
) -> None:
    inner = (
        b"From: Alice <alice@example.test>\r\nSubject: the real one\r\nHP-Outer: Subject: [...]\r\n"
        b"Content-Type: text/plain; " + parameter + b"\r\n"
    )
    outer = [*OUTER, ("Reply-To", "reply@example.test"), ("List-Id", "<l.example.test>")]
    one = await opened(sealed(inner + b"\r\ntext\r\n", outer=outer), ring)
    assert b"Subject: the real one\r\n" in one.served
    assert b"[...]" not in one.served
    assert b"HP-Outer" not in one.served
    assert b"List-Id: <l.example.test>\r\n" in one.served
    # RFC 9788 protects all or nothing; its forerunner protected what the sender chose.
    assert (b"Reply-To" in one.served) is kept
    assert one.served.endswith(b"\r\n\r\ntext\r\n")
    assert states(one) == ["good"]


async def test_text_encrypted_without_any_header_is_all_body(ring: Ring) -> None:
    one = await opened(sealed(b"Hello there,\r\n\r\nno header.\r\n"), ring)
    assert one.served.endswith(b"\r\n\r\nHello there,\r\n\r\nno header.\r\n")


async def test_nothing_around_the_encrypted_part_is_served(ring: Ring) -> None:
    raw = ours(mail()).replace(b"\r\n--=_b\r\n", b"\r\n<img src='http://eve/\r\n--=_b\r\n", 1)
    raw += b"\r\n'>trailing\r\n"
    one = await opened(raw, ring)
    assert one.security.encryption == "end-to-end"
    assert b"img" not in one.served
    assert b"trailing" not in one.served
    third = ours(mail()).replace(b"--=_b--", b"--=_b\r\n\r\na third part\r\n--=_b--")
    assert (await opened(third, ring)).security.encryption == "provider"


async def test_a_container_in_base64_is_opened(ring: Ring) -> None:
    raw = ours(mail())
    start, end = raw.index(b"-----BEGIN PGP"), raw.index(b"--=_b--")
    coded = base64.encodebytes(raw[start:end]).replace(b"\n", b"\r\n")
    raw = raw[:start] + coded + raw[end:]
    raw = raw.replace(
        b"Content-Disposition: inline",
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: inline",
    )
    assert (await opened(raw, ring)).served.endswith(mail())


# --- what cannot be opened -------------------------------------------------------------------


async def test_mail_to_another_key_is_kept_as_it_came_and_says_so(ring: Ring) -> None:
    raw = sealed(protect(mail(), OUTER), to="carol")
    one = await opened(raw, ring)
    assert one.security.encryption == "undecryptable"
    assert "none of your keys" in one.security.note
    assert one.served == b"X-Leap-Encryption: undecryptable\r\nX-Leap-Signature: none\r\n" + raw


async def test_a_changed_message_gives_out_nothing(ring: Ring) -> None:
    raw = ours(mail())
    at = raw.index(b"-----END PGP") - 60
    changed = raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
    one = await opened(changed, ring)
    assert one.security.encryption == "undecryptable"
    assert one.served.endswith(changed)


async def test_clear_mail_arrives_byte_for_byte_and_is_called_provider(ring: Ring) -> None:
    raw = TRACE + b"Subject:   odd \r\n\tfold\r\nno field\r\n\r\nbody \xff\r\n"
    one = await opened(raw, ring)
    assert one.security.encryption == "provider"
    assert one.served == b"X-Leap-Encryption: provider\r\nX-Leap-Signature: none\r\n" + raw
    assert one.original is None


async def test_clear_signed_mail_gets_its_verdict(ring: Ring) -> None:
    part = b"Content-Type: text/plain\r\n\r\nsigned text\r\n"

    def message(signed: bytes, sender: str = ALICE) -> bytes:
        signature = sign_detached(part, own_key("alice"), now=lambda: NOW).replace(b"\n", b"\r\n")
        return (
            f"From: {sender}\r\nContent-Type: multipart/signed; micalg=pgp-sha512;\r\n"
            ' protocol="application/pgp-signature"; boundary="s"\r\n\r\n--s\r\n'
        ).encode() + (
            signed
            + b"\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n"
            + signature.replace(b"\r\r\n", b"\r\n")
            + b"--s--\r\n"
        )

    one = await opened(message(part), ring)
    assert (one.security.encryption, states(one)) == ("provider", ["good"])
    assert one.served.endswith(message(part)[-200:])
    assert states(await opened(message(part.replace(b"text\r\n", b"tExt\r\n")), ring)) == ["bad"]
    assert states(await opened(message(part, EVE), ring)) == ["not-from"]


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 5000), st.integers(0, 200))
async def test_no_bytes_make_it_raise_or_lose_the_mail(junk: bytes, at: int, cut: int) -> None:
    ring = Ring([own_key("bob")], [own_key("alice").certificate])
    base = _base()
    at %= len(base)
    for raw in (junk, base[:at] + junk + base[at + cut :], junk + base):
        one = await opened(raw, ring)
        assert one.served.startswith(b"X-Leap-Encryption: ")
        if one.original is not None:
            assert one.original == raw
        else:
            assert one.served.endswith(without_forged(raw))


_made: list[bytes] = []


def _base() -> bytes:
    if not _made:
        _made.append(ours(mail()))
    return _made[0]
