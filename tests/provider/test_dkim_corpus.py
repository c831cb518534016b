"""DKIM of the mails in the shared corpus: some are signed with keys of RFC 6376 and RFC 8463, none has a DNS."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from leap.provider.mx.authentication import MailChecks
from leap.provider.mx.authentication.dkim import SignedMail
from tests.keymanager.corpus_openpgp import mails
from tests.provider.zone import Zone

pytestmark = pytest.mark.corpus

NOW = 1_795_000_000.0
_RSA = (  # RFC 6376 C
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq"
    "631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
ZONE = Zone(
    {
        "brisbane._domainkey.example.com": [("TXT", f"v=DKIM1; p={_RSA}")],
        "s.flags._domainkey.example.com": [("TXT", f"v=DKIM1; t=s; p={_RSA}")],
        # RFC 8463 A.2
        "brisbane._domainkey.football.example.com": [
            ("TXT", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        ],
    }
)

# by file of the folder dkim-verifier: the results, and because of which octets
EXPECTED: dict[str, tuple[tuple[str, ...], str]] = {
    "data__rfc6376-A.2.eml": (("pass",), "the mail of the standard, as it is"),
    "data__rfc6376-A.2-body_modified.eml": (("fail",), "bh= is of another body"),
    "data__rfc6376-A.2-header_subject_modified.eml": (("fail",), "b= is over another Subject"),
    "data__rfc6376-A.2-ill_formed-missing_v.eml": (("permerror",), "no v= in the signature"),
    "data__rfc6376-A.2-ill_formed-list_id.eml": (("pass",), "List-Id is not signed"),
    "dkim__added_header-date.eml": (("policy",), "two Date fields, one of them in h="),
    "dkim__added_header-from.eml": (("policy",), "two From fields, one of them in h="),
    "dkim__added_header-subject.eml": (("policy",), "two Subject fields, one of them in h="),
    "dkim__added_header-to.eml": (("policy",), "two To fields, one of them in h="),
    "dkim__alignment-from_not_in_auid.eml": (("pass",), "who From names is DMARC's business"),
    "dkim__alignment-from_not_in_sdid.eml": (("pass",), "who From names is DMARC's business"),
    "dkim__alignment-signed_by_parent_domain.eml": (("pass",), "d= signs for names below it"),
    "dkim__flags_s-auid_and_sdid_match.eml": (("pass",), "t=s, and i= is d= itself"),
    "dkim__flags_s-auid_is_subdomain_of_sdid.eml": (("permerror",), "t=s, and i= is below d="),
    "dkim__header_with_non_ascii_char.eml": (("pass",), "octets above 127 are octets"),
    "dkim__time-received_after_creation.eml": (("pass",), "t= is past"),
    "dkim__time-received_briefly_before_creation.eml": (("pass",), "Received is not looked at"),
    "dkim__time-received_long_before_creation.eml": (("pass",), "Received is not looked at"),
    "dkim__unsigned_header-content-type.eml": (("pass",), "the body is what was signed"),
    "dkim__unsigned_header-reply_to-in_domain.eml": (("pass",), "Reply-To is not in h="),
    "dkim__unsigned_header-reply_to-invalid.eml": (("pass",), "Reply-To is not in h="),
    "dkim__unsigned_header-reply_to-not_in_domain.eml": (("pass",), "Reply-To is not in h="),
}


def with_crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_signed_mail_has_the_expected_result(corpus: Path, name: str) -> None:
    raw = with_crlf((corpus / "dkim-verifier" / name).read_bytes())
    found = await SignedMail(raw, "", NOW).verify(ZONE, 1.0)
    results, because = EXPECTED[name]
    assert tuple(one.result for one in found) == results, because


async def test_every_mail_can_be_checked_and_none_passes_without_a_dns(corpus: Path) -> None:
    checks = MailChecks(Zone(), now=lambda: NOW)
    seen: set[bytes] = set()
    signed = 0
    for name, raw in mails(corpus):
        key = hashlib.sha256(raw).digest()
        if key in seen:
            continue
        seen.add(key)
        found = await checks.check(
            peer="192.0.2.1", helo="mx.else.test", sender="a@else.test", raw=with_crlf(raw)
        )
        signed += bool(found.dkim)
        assert found.dmarc in ("none", "permerror"), name
        assert all(one.result in ("permerror", "policy", "fail") for one in found.dkim), name
    assert signed > 100
