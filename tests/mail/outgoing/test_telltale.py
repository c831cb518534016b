"""What mail programs tell of themselves and of the machine does not travel; what the person says does."""

from __future__ import annotations

import pytest

from leap.mail.outgoing.field_lines import split_header
from leap.mail.outgoing.submitted import Submitted, read_submission
from leap.mail.outgoing.telltale import is_telltale
from tests.mail.travel import DOMAIN, NOW, mail

TELLTALE = [
    b"User-Agent: Program/1.0 (System 5)\r\n",
    b"X-Mailer: Program\r\n",
    b"Mail-User-Agent: Program\r\n",
    b"X-Originating-IP: [192.0.2.7]\r\n",
    b"Received: from laptop.lan ([192.168.1.5])\r\n by localhost; now\r\n",
    b"X-Enigmail-Version: 2\r\n",
    b"X-MS-Has-Attach: yes\r\n",
    b"X-Mozilla-Draft-Info: internal/draft; vcard=0\r\n",
    b"X-Identity-Key: id1\r\n",
    b"X-Account-Key: account2\r\n",
    b"Fcc: imap://alice@host/Sent\r\n",
    b"Thread-Index: AdZ\r\n",
]
SAID = [
    b"Importance: high\r\n",
    b"X-Priority: 1\r\n",
    b"Disposition-Notification-To: a@b\r\n",
    b"List-Unsubscribe: <mailto:a@b>\r\n",
    b"Keywords: plan\r\n",
    b"References: <a@b>\r\n",
    b"X-Own: kept\r\n",
]


def read(raw: bytes) -> Submitted:
    return read_submission(raw, f"alice@{DOMAIN}", now=NOW, new_id=lambda: "1")


@pytest.mark.parametrize("line", TELLTALE)
def test_a_tell_tale_field_is_dropped_and_every_other_octet_kept(line: bytes) -> None:
    before, after = mail(extra=b"X-Own: a\r\n"), mail(extra=b"X-Own: a\r\n" + line)
    assert read(after).message == read(before).message == before


@pytest.mark.parametrize("line", SAID)
def test_what_the_person_says_by_a_field_stays(line: bytes) -> None:
    raw = mail(extra=line)
    assert read(raw).message == raw


def test_date_with_its_zone_and_message_id_stay_as_written() -> None:
    raw = (
        b"From: alice@example.test\r\nDate: Mon, 21 Sep 2026 10:00:00 +0530\r\n"
        b"Message-ID: <1@laptop.lan>\r\n\r\nhi\r\n"
    )
    assert read(raw).message == raw


@pytest.mark.parametrize(
    "extra",
    [
        b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n',
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n",
    ],
)
def test_what_the_mail_program_signed_passes_untouched(extra: bytes) -> None:
    raw = mail(extra=b"".join(TELLTALE) + extra)
    one = read(raw)
    assert one.message == raw
    assert one.signed


def test_a_body_that_quotes_such_fields_is_not_touched() -> None:
    raw = mail(body=b"".join(TELLTALE))
    assert read(raw).message == raw


def test_no_field_with_a_meaning_for_delivery_or_people_is_tell_tale() -> None:
    for name in ("from", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"):
        assert not is_telltale(name)
    fields, _ = split_header(mail())
    assert not any(is_telltale(field.name) for field in fields)
