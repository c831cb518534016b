"""The ESMTP parameters of MAIL and RCPT which this server knows, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leap.mail import delivery_wishes
from leap.mail.delivery_wishes import DeliveryNotice
from leap.mail.smtp import replies
from leap.mail.smtp.contract import SUBMISSION_KEYWORD, Session, SmtpConfig
from leap.mail.smtp.wire import Reply

_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 3
_SUBMISSION_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


def check_parameters(
    params: Mapping[str, str], config: SmtpConfig, session: Session
) -> Reply | None:
    """The refusal of a parameter that was not offered or cannot be read, or None."""
    for keyword, value in params.items():
        known = {
            "SIZE": _SIZE.fullmatch(value) is not None,
            "BODY": value.upper() in ("7BIT", "8BITMIME"),  # RFC 6152 2
            "SMTPUTF8": not value,  # RFC 6531 3.4
        }
        if config.auth != "none":
            known["AUTH"] = bool(value)  # RFC 4954 5: read, and not relied on
        if config.dsn:
            known["RET"] = delivery_wishes.is_right("RET", value)
            known["ENVID"] = delivery_wishes.is_right("ENVID", value)
        if config.require_tls and session.tls:
            known["REQUIRETLS"] = not value  # RFC 8689 2
        if config.submission_ids:
            known[SUBMISSION_KEYWORD] = _SUBMISSION_ID.fullmatch(value) is not None
        if keyword not in known or not session.extended:
            return replies.unknown_parameter(keyword)
        if not known[keyword]:
            return replies.bad_parameter(keyword)
    return None


def find_notice(
    params: Mapping[str, str], config: SmtpConfig, session: Session
) -> DeliveryNotice | Reply:
    """What the parameters of RCPT ask for, or the refusal of one that was not offered or cannot be read."""
    for keyword in params:
        if keyword not in ("NOTIFY", "ORCPT") or not config.dsn or not session.extended:
            return replies.unknown_parameter(keyword)
    try:
        return delivery_wishes.read_notice(params)
    except delivery_wishes.BadWish as error:
        return replies.bad_argument(error)
