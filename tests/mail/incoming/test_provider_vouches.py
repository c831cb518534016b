"""Keys are believed on the provider's word only where it covers them: a log-in, or DKIM of the From's domain."""

from __future__ import annotations

import pytest

from leap.keymanager.autocrypt.header import header_value
from leap.keymanager.mail_material import DKIM_PASS, SIGNATURE_GOOD, KeyMaterial
from leap.mail.authentication_results import results_field
from leap.mail.contract import DkimCheck, ProviderChecks, SecurityStatus, SignatureVerdict
from leap.mail.incoming.key_material import find_key_material
from leap.mail.incoming.opening import Opened
from leap.mail.incoming.provider_checks import signs_for
from leap.mail.model import header_record
from tests.mail.travel import DOMAIN, mail, own_key

ALICE = f"alice@{DOMAIN}"
SIGNED = "from:to:subject:date:content-type:autocrypt:openpgp"
URL = b"OpenPGP: url=https://alice.test/key.asc\r\n"


def autocrypt() -> bytes:
    value = header_value(ALICE, own_key("alice").certificate.binary)
    assert value is not None
    return b"Autocrypt: " + value.encode() + b"\r\n"


def signature(fields: str = SIGNED, domain: str = DOMAIN) -> bytes:
    return (
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=s;\r\n"
        f"\th={fields}; bh=AAAA; b=AAAA\r\n"
    ).encode()


def checks(
    result: str = "pass", domain: str = DOMAIN, dmarc: str = "pass", policy: str = "reject"
) -> ProviderChecks:
    return ProviderChecks(
        dkim=(DkimCheck(result=result, domain=domain),),
        dmarc=dmarc,
        dmarc_domain=DOMAIN,
        policy=policy,
    )


def material(raw: bytes, provider: ProviderChecks | None, *states: str) -> KeyMaterial:
    signatures = tuple(SignatureVerdict(state=state) for state in states)  # type: ignore[arg-type]
    status = SecurityStatus(encryption="provider", signatures=signatures, provider=provider)
    found = find_key_material(raw, Opened(raw, status, None), header_record(raw, status))
    assert found is not None
    return found


def test_a_signature_of_the_senders_domain_over_all_that_brings_keys_vouches() -> None:
    found = material(signature() + mail(extra=autocrypt() + URL), checks())
    assert found.authentication == DKIM_PASS
    assert material(signature() + mail(extra=autocrypt()), None).authentication == ""


def test_a_good_signature_of_the_sender_says_more() -> None:
    found = material(signature() + mail(extra=autocrypt()), checks(), "good")
    assert found.authentication == SIGNATURE_GOOD


@pytest.mark.parametrize("left_out", ["autocrypt", "openpgp", "content-type"])
def test_a_field_that_was_not_signed_may_be_anybodys(left_out: str) -> None:
    fields = ":".join(name for name in SIGNED.split(":") if name != left_out)
    raw = signature(fields) + b"Content-Type: text/plain\r\n" + mail(extra=autocrypt() + URL)
    assert material(raw, checks()).authentication == ""


def test_a_field_added_beside_the_signed_one_may_be_anybodys() -> None:
    added = autocrypt().replace(b"addr=alice", b"addr=carol")
    raw = added + signature() + mail(extra=autocrypt())
    assert material(raw, checks()).authentication == ""
    twice = signature(SIGNED + ":autocrypt") + mail(extra=autocrypt() + added)
    assert material(twice, checks()).authentication == DKIM_PASS


def test_of_two_signatures_of_the_domain_both_must_cover_it() -> None:
    """Which one passed is not told: a forged one beside a true one that says less must not help."""
    mail_ = mail(extra=autocrypt())
    assert material(signature() + signature("from") + mail_, checks()).authentication == ""
    other = signature("from", "list.test")
    assert material(other + signature() + mail_, checks()).authentication == DKIM_PASS


def test_a_signature_of_somebody_else_covers_nothing() -> None:
    raw = signature(domain="evil.test") + mail(extra=autocrypt())
    assert material(raw, checks(domain="evil.test", dmarc="none")).authentication == ""
    # DMARC passed by SPF only
    assert material(raw, checks(domain="evil.test")).authentication == ""
    assert material(raw, checks()).authentication == ""  # the field is not there


@pytest.mark.parametrize("result", ["fail", "policy", "neutral", "temperror", "permerror", "none"])
def test_a_signature_that_did_not_pass_covers_nothing(result: str) -> None:
    assert material(signature() + mail(extra=autocrypt()), checks(result)).authentication == ""


@pytest.mark.parametrize("dmarc", ["fail", "temperror", "permerror"])
def test_a_domain_whose_policy_is_not_met_vouches_for_nothing(dmarc: str) -> None:
    raw = signature() + mail(extra=autocrypt())
    assert material(raw, checks(dmarc=dmarc)).authentication == ""


def test_an_account_of_the_provider_vouches_for_itself_alone() -> None:
    raw = mail(extra=autocrypt())
    assert material(raw, ProviderChecks(submitter=ALICE)).authentication == DKIM_PASS
    eve = ProviderChecks(submitter=f"eve@{DOMAIN}")
    assert material(raw, eve).authentication == ""


def test_a_from_inside_that_is_not_the_outer_one_is_not_vouched_for() -> None:
    raw = signature() + mail(extra=autocrypt())
    status = SecurityStatus(encryption="end-to-end", provider=checks())
    served = mail().replace(b"alice", b"carol")
    opened = Opened(served, status, raw, b"", f"carol@{DOMAIN}")
    found = find_key_material(raw, opened, header_record(served, status))
    assert found is not None
    assert found.authentication == ""


def test_mail_that_its_domain_disowns_is_as_spam() -> None:
    forged = checks("fail", dmarc="fail")
    assert material(mail(extra=autocrypt()), forged).is_spam
    assert material(mail(), forged).is_spam  # nor does it say that alice writes without a key
    assert not material(mail(), checks()).is_spam
    assert not material(mail(), checks("fail", dmarc="fail", policy="none")).is_spam


@pytest.mark.parametrize(
    ("domain", "counts"),
    [
        ("example.test", True),
        ("mail.example.test", False),  # below: whoever runs it need not be who runs the domain
        ("test", False),
        ("ample.test", False),
    ],
)
def test_the_domain_itself_or_one_above_it_answers_for_an_address(
    domain: str, counts: bool
) -> None:
    assert signs_for(checks(domain=domain), "a@example.test") == ({domain} if counts else set())
    above = checks(domain="example.test")
    assert signs_for(above, "a@news.example.test") == {"example.test"}


def test_what_is_served_of_the_provider_does_not_count_as_sent() -> None:
    raw = results_field(DOMAIN, checks()) + mail(extra=autocrypt())
    assert material(raw, None).authentication == ""
