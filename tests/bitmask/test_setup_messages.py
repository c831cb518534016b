"""Who sent a Setup Message: anybody can write one that says it is from the account itself."""

from __future__ import annotations

import pytest

from leap.bitmask.setup_messages import SentBy, _is_own, sent_by
from leap.keymanager.autocrypt.setup_code import new_setup_code
from leap.keymanager.autocrypt.setup_message import write_setup_message
from leap.mail.contract import DkimCheck, ProviderChecks, SecurityStatus
from tests.mail.travel import NOW, own_key

ALICE = "alice@example.test"
PASS = ProviderChecks(
    dkim=(DkimCheck(result="pass", domain="example.test"),),
    dmarc="pass",
    dmarc_domain="example.test",
)


@pytest.mark.parametrize(
    ("security", "who"),
    [
        (SecurityStatus(encryption="local"), "this program"),
        (
            SecurityStatus(encryption="provider", provider=ProviderChecks(submitter=ALICE)),
            "your account, according to your provider",
        ),
        (
            SecurityStatus(encryption="provider", provider=PASS),
            "your account, according to your provider",
        ),
        (SecurityStatus(encryption="provider"), "somebody"),
        (
            SecurityStatus(encryption="provider", provider=ProviderChecks(submitter="eve@x.test")),
            "somebody",
        ),
        (
            SecurityStatus(encryption="provider", provider=ProviderChecks(dmarc="fail")),
            "somebody",
        ),
    ],
)
def test_who_put_it_there_is_told(security: SecurityStatus, who: SentBy) -> None:
    assert sent_by(security, ALICE) == who


def test_only_one_from_the_account_to_itself_is_offered() -> None:
    raw = write_setup_message(own_key("alice"), new_setup_code(), ALICE, now=NOW)
    assert _is_own(raw, "Alice@example.test")
    assert _is_own(b"X-Leap-Encryption: provider\r\n" + raw, ALICE)
    assert not _is_own(raw, "bob@example.test")
    assert not _is_own(b"From: <eve@else.test>\r\n" + raw, ALICE)
    assert not _is_own(raw.replace(b"Autocrypt-Setup-Message", b"X-Other"), ALICE)
