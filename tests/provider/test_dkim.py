"""DKIM: what dkimpy signs is verified, what was changed is not, and what a signature leaves open is told apart."""

from __future__ import annotations

import base64
import functools
import hashlib
import warnings

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import DkimCheck
from leap.provider.mx.authentication.dkim import MAX_SIGNATURES, SignedMail
from leap.provider.mx.authentication.dkim_canonical import PIECE, body_digest
from leap.provider.submission.dkim_signing import DkimSigner
from tests.provider.zone import Zone

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

NOW = 1_800_000_000.0
DOMAIN = "else.test"
HEADER = (
    b"From: Eve <eve@else.test>\r\nTo: alice@example.test\r\nSubject: hello\r\n"
    b"Date: Fri, 15 Jan 2027 08:00:00 +0000\r\nContent-Type: text/plain\r\n"
)
MAIL = HEADER + b"\r\nsome  text \r\n\r\nmore\r\n\r\n\r\n"
SIGNED = [b"from", b"to", b"subject", b"date", b"content-type"]


@functools.cache
def rsa_key(bits: int = 2048) -> tuple[bytes, str]:
    """The private key as dkimpy wants it, and p=."""
    made = rsa.generate_private_key(65537, bits)
    private = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = made.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, base64.b64encode(public).decode()


def zone(record: str | None = None, name: str = f"s._domainkey.{DOMAIN}") -> Zone:
    return Zone({name: [("TXT", record or f"v=DKIM1; k=rsa; p={rsa_key()[1]}")]})


def sign(mail: bytes = MAIL, key: bytes | None = None, **more: object) -> bytes:
    """The mail with a signature of dkimpy on top."""
    settings = {"include_headers": SIGNED, "canonicalize": (b"relaxed", b"relaxed")} | more
    made: bytes = dkim.sign(mail, b"s", DOMAIN.encode(), key or rsa_key()[0], **settings)
    return made + mail


async def check(mail: bytes, dns: Zone | None = None, now: float = NOW) -> tuple[DkimCheck, ...]:
    return await SignedMail(mail, DOMAIN, now).verify(dns or zone(), 1.0)


async def result(mail: bytes, dns: Zone | None = None, now: float = NOW) -> str:
    (one,) = await check(mail, dns, now)
    return one.result


FORMS = [(h, b) for h in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]
BODIES = [
    b"",
    b"\r\n",
    b"\r\n\r\n\r\n",
    b"hello",
    b"hello\r\n",
    b"a \t b \r\n\r\n\r\n",
    b" \r\n \r\n",
    b"x\r\n \r\n",
    b"\t\r\nfoo  bar\t\r\n" * 6000,
    b"\r\n" * (PIECE + 7) + b"x\r\n" + b"\r\n" * PIECE,
    b"abc" * PIECE,
    b"y" * (PIECE - 1) + b"\r\n" + b"z" * 9,
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_what_another_program_signed_is_verified(
    form: tuple[bytes, bytes], body: bytes
) -> None:
    mail = b"X: 1\r\nFrom: eve@else.test\r\nSubject:  a\r\n\t b \r\n\r\n" + body
    signed = sign(mail, canonicalize=form, include_headers=[b"from", b"subject", b"subject"])
    assert await result(signed) == "pass"
    assert await result(signed.replace(b"Subject:  a", b"Subject:  c")) == "fail"
    assert await result(signed + b"x\r\n") == "fail"


@pytest.mark.parametrize("relaxed", [False, True])
@given(body=st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"x", b"\r", b"\n"]), max_size=40))
@settings(max_examples=200)
def test_any_body_has_the_digest_which_another_program_gives_it(
    relaxed: bool, body: list[bytes]
) -> None:
    raw = b"".join(body) + b"\r\n"
    form = dkim.canonicalization.Relaxed if relaxed else dkim.canonicalization.Simple
    theirs = form.canonicalize_body(raw)
    if relaxed and b"\r" in raw.replace(b"\r\n", b""):
        return  # dkimpy takes white space before a bare CR or LF for white space at the end of a line
    assert body_digest(raw, 0, relaxed=relaxed, length=None)[0] == hashlib.sha256(theirs).digest()


async def test_an_ed25519_signature_is_verified_with_its_own_kind_of_key_only() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    mail = DkimSigner(DOMAIN, "s", key).signature_field(MAIL, NOW) + MAIL
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    record = f"v=DKIM1; k=ed25519; p={public}"
    assert await result(mail, zone(record)) == "pass"
    assert await result(mail.replace(b"hello", b"hallo"), zone(record)) == "fail"
    assert await result(mail) == "permerror"  # the key there is an RSA key


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=DKIM1; p=", "permerror"),  # revoked
        ("v=DKIM1; k=rsa; p=@@@", "permerror"),
        ("v=DKIM1; k=rsa; p=AAAA", "permerror"),
        ("v=DKIM2; p={p}", "permerror"),
        ("k=rsa; v=DKIM1; p={p}", "permerror"),  # v= comes first or not at all
        ("k=rsa; k=rsa; p={p}", "permerror"),
        ("v=DKIM1; h=sha1; p={p}", "permerror"),
        ("v=DKIM1; s=other; p={p}", "permerror"),
        ("v=DKIM1; s=email; h=sha1:sha256; n=words; p={p}", "pass"),
        ("p={p}", "pass"),
        ("v=DKIM1; t=y; p={p}", "neutral"),  # as if it were not signed
        ("v=DKIM1; t=s; p={p}", "pass"),
        ("nothing of DKIM", "permerror"),
    ],
)
async def test_a_key_counts_as_its_domain_publishes_it(record: str, expected: str) -> None:
    assert await result(sign(), zone(record.replace("{p}", rsa_key()[1]))) == expected


async def test_without_a_key_or_with_two_nothing_is_verified() -> None:
    assert await result(sign(), Zone()) == "permerror"
    two = zone()
    two.add(f"s._domainkey.{DOMAIN}", "TXT", f"v=DKIM1; p={rsa_key()[1]}")
    assert await result(sign(), two) == "permerror"
    two.records[f"s._domainkey.{DOMAIN}"][1] = ("TXT", "v=spf1 -all")
    assert await result(sign(), two) == "pass"


async def test_a_dns_without_answer_is_a_temporary_error() -> None:
    assert await result(sign(), Zone({f"s._domainkey.{DOMAIN}": [("FAIL", "")]})) == "temperror"


WEAK = [  # of 512 and 768 bits
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANK0UQ+BPRlHmYYeT59jWFZn6gqDoyt0y8cKok66/WdgNBye+l48iALGSBkUu57oVLN9trMQTV3j2PU1AVaA6EcCAwEAAQ==",
    "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAJ/tdeE2Lqx5DP8VMOSP6e9X9AfIRWp1hLeJoN8pa2oiY2S/uw5VYpmhJV"
    "E1LNYlC/sZI7kw52Ahep7aRqtg7zos3A9Ad50cQokp1AacyEKEsSMg4fhKD7P4spjUP7T1iQIDAQAB",
]


@pytest.mark.parametrize("public", WEAK)
async def test_a_weak_key_verifies_nothing(public: str) -> None:
    assert await result(sign(), zone(f"v=DKIM1; p={public}")) in ("policy", "permerror")


async def test_sha1_verifies_nothing() -> None:
    signed = sign(signature_algorithm=b"rsa-sha256").replace(b"a=rsa-sha256", b"a=rsa-sha1")
    assert await result(signed) == "policy"


async def test_a_body_that_is_covered_in_part_is_no_pass() -> None:
    signed = sign(length=True)
    assert b"l=" in signed
    assert await result(signed) == "pass"  # all of it is covered
    assert await result(signed + b"added below\r\n") == "policy"


async def test_a_length_beyond_the_body_is_an_error() -> None:
    signed = sign(length=True)
    at = signed.index(b"l=") + 2
    assert await result(signed[:at] + b"9" + signed[at:]) == "permerror"


@pytest.mark.parametrize(
    "name", [b"From", b"To", b"Subject", b"Date", b"Content-Type", b"subject", b"SUBJECT"]
)
@pytest.mark.parametrize("place", ["above", "below the signature", "at the end"])
async def test_a_field_added_beside_a_signed_one_is_no_pass(name: bytes, place: str) -> None:
    signed = sign()
    added = name + b": mallory@evil.test\r\n"
    if place == "above":
        mail = added + signed
    elif place == "below the signature":
        mail = signed.replace(b"From: Eve", added + b"From: Eve")
    else:
        mail = signed.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)
    assert await result(mail) in ("policy", "fail")


async def test_a_name_signed_once_more_than_it_stands_lets_nothing_be_added() -> None:
    signed = sign(include_headers=[*SIGNED, b"subject"])
    assert await result(signed) == "pass"
    assert await result(b"Subject: x\r\n" + signed) == "fail"


async def test_trace_fields_may_be_added() -> None:
    assert await result(b"Received: x\r\n\ty\r\nX-Filter: yes\r\n" + sign()) == "pass"


@pytest.mark.parametrize(
    "line",
    [
        b"X: y\rFrom: bank@bank.test\r\n",
        b"X: y\nFrom: bank@bank.test\r\n",
        b"X: y\x00z\r\n",
        b"no field\r\n",
        b"X: y\r\n \r\n z\r\n",
        b": z\r\n",
    ],
)
async def test_a_header_that_can_be_read_in_two_ways_is_no_pass(line: bytes) -> None:
    for mail in (line + sign(), sign().replace(b"To: ", line + b"To: ")):
        assert await result(mail) in ("policy", "permerror")


async def test_a_signature_counts_until_it_expires() -> None:
    signed = signed_by_hand(b"t=1000; x=2000;")
    assert await result(signed, now=1999.0) == "pass"
    assert await result(signed, now=2001.0) == "fail"


async def test_a_signature_from_the_future_is_no_pass() -> None:
    signed = signed_by_hand(b"t=200000;")
    assert await result(signed, now=200_000.0 - 3600) == "pass"  # clocks differ
    assert await result(signed, now=200_000.0 - 2 * 86400) == "policy"


def signed_by_hand(tags: bytes) -> bytes:
    """The mail signed with further tags."""
    digest = base64.b64encode(
        hashlib.sha256(MAIL.partition(b"\r\n\r\n")[2].rstrip() + b"\r\n").digest()
    )
    field = (
        b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=else.test; s=s; h=from; "
        + tags
        + b" bh="
        + digest
        + b"; b="
    )
    key = serialization.load_pem_private_key(rsa_key()[0], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    data = HEADER.splitlines(keepends=True)[0] + field
    made = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return field + base64.b64encode(made) + b"\r\n" + MAIL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"v=1", b"v=2"),
        (b"v=1; ", b""),
        (b"d=else.test", b"d=test"),
        (b"d=else.test", b"d=.else.test"),
        (b"d=else.test;", b"d=else.test; d=else.test;"),
        (b"d=else.test", b"d=else.test; i=@evil.test"),
        (b"d=else.test", b"d=else.test; i=@notelse.test"),
        (b"s=s;", b"s=../x;"),
        (b"q=dns/txt", b"q=http"),
        (b"h=from : ", b"h="),
        (b"a=rsa-sha256", b"a=rsa-md5"),
        (b"c=relaxed/relaxed", b"c=nowsp"),
        (b"bh=", b"bh=@"),
        (b"v=1", b"v=1; l=-1"),
        (b"v=1", b"v=1; x=soon"),
        (b"v=1", b"v=1; t=9; x=9"),
    ],
)
async def test_a_signature_field_that_is_wrong_is_a_permanent_error(old: bytes, new: bytes) -> None:
    signed = sign(canonicalize=(b"relaxed", b"relaxed"))
    if old not in signed:
        signed = signed.replace(b"v=1;", b"v=1; " + old + b";", 1)
    assert await result(signed.replace(old, new, 1)) == "permerror"


async def test_each_signature_has_its_result_the_authors_first() -> None:
    other = sign().replace(b"else.test", b"list.test").partition(b"From:")[0]
    checks = await check(other + sign())
    assert [(one.result, one.domain) for one in checks] == [
        ("pass", "else.test"),
        ("permerror", "list.test"),
    ]


async def test_a_flood_of_signatures_hides_none_of_the_author() -> None:
    junk = b"DKIM-Signature: v=1; a=rsa-sha256; d=evil.test; s=s; h=from; bh=AA==; b=AA==\r\n"
    dns = zone()
    checks = await check(junk * 1000 + sign(), dns)
    assert len(checks) == MAX_SIGNATURES
    assert checks[0] == DkimCheck(result="pass", domain="else.test")
    assert len(dns.asked) <= MAX_SIGNATURES


async def test_an_unsigned_mail_has_no_results() -> None:
    assert await check(MAIL) == ()


@given(st.integers(0, 1500), st.binary(max_size=4))
@settings(max_examples=300)
async def test_no_changed_mail_passes_unless_nothing_signed_was_changed(
    at: int, octets: bytes
) -> None:
    signed = _one_signed()
    changed = signed[:at] + octets + signed[at + len(octets) :]
    if not changed.endswith(b"\r\n"):  # every mail does, as it comes from SMTP
        changed += b"\r\n"
    for one in await check(changed):
        if one.result == "pass":
            ours = dkim.DKIM(changed)
            assert ours.verify(
                dnsfunc=lambda name, timeout=5: f"v=DKIM1; p={rsa_key()[1]}".encode()
            )


@functools.cache
def _one_signed() -> bytes:
    return sign()


@given(st.binary(max_size=400))
async def test_any_octets_can_be_checked(octets: bytes) -> None:
    await check(octets)
    await check(b"DKIM-Signature: " + octets + b"\r\n" + MAIL)
