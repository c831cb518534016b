"""What a sender asks of delivery besides delivery itself: notices (RFC 3461) and TLS all the way (RFC 8689).

Values only, kept beside a mail in outbox and queue, and the parameters of MAIL and RCPT they are read from
and written as. Strict: what the grammar does not know is `BadWish`, for others act on what we pass on.

    notify = "NEVER" / 1#("SUCCESS" / "FAILURE" / "DELAY")        RFC 3461 4.1
    orcpt  = addr-type ";" xtext                                  4.2; utf-8;... of RFC 6533 3
    ret    = "FULL" / "HDRS"                                      4.3
    envid  = xtext                                                4.4
    xtext  = *( "!" to "~" but "+" and "=" / "+" 2(upper-case hexadecimal digit) )
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Occasion = Literal["SUCCESS", "FAILURE", "DELAY"]
Tls = Literal["usual", "required", "optional"]

MAX_ENVID = 100  # characters on the wire (RFC 3461 4.4)
MAX_ORCPT = 500  # RFC 3461 4.2
_OCCASIONS: tuple[Occasion, ...] = ("SUCCESS", "FAILURE", "DELAY")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ESCAPED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 3: utf-8-addr-xtext
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_UNSAFE = re.compile(r"[^!-*,-<>-~]")


class BadWish(ValueError):
    """The value of a parameter is not what its standard describes."""


class DeliveryNotice(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender wants to hear of one recipient.

    `notify` is None when nothing was said, and () for never. `original` is the recipient the sender wrote, as
    "type;address" in plain text, or "".
    """

    notify: tuple[Occasion, ...] | None = None
    original: str = ""

    def wants(self, occasion: Occasion) -> bool:
        """Whether a report is due. Who said nothing hears of what goes wrong (RFC 3461 4.1 leaves delays to us)."""
        return occasion != "SUCCESS" if self.notify is None else occasion in self.notify

    def asks_for(self, occasion: Occasion) -> bool:
        """Whether the sender said so."""
        return self.notify is not None and occasion in self.notify


class DeliveryWishes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the sender of one mail asks. `notices` has a recipient's address only where something was said."""

    returned: Literal["", "FULL", "HDRS"] = ""
    envelope_id: str = ""
    notices: dict[str, DeliveryNotice] = {}
    require_tls: bool = False

    def notice(self, recipient: str) -> DeliveryNotice:
        """What is wanted for one recipient."""
        return self.notices.get(recipient, _NOTHING_SAID)

    def only_for(self, recipients: Iterable[str]) -> DeliveryWishes:
        """The same for some of the recipients."""
        kept = {one: self.notices[one] for one in recipients if one in self.notices}
        return msgspec.structs.replace(self, notices=kept)


_NOTHING_SAID = DeliveryNotice()
NO_WISHES = DeliveryWishes()


def read_notice(params: Mapping[str, str]) -> DeliveryNotice:
    """The parameters of RCPT. Raises BadWish."""
    return DeliveryNotice(
        notify=_read_notify(params["NOTIFY"]) if "NOTIFY" in params else None,
        original=read_original(params["ORCPT"]) if "ORCPT" in params else "",
    )


def read_wishes(params: Mapping[str, str], notices: dict[str, DeliveryNotice]) -> DeliveryWishes:
    """The parameters of MAIL, which were found right before, with what RCPT said."""
    returned = params.get("RET", "").upper()
    return DeliveryWishes(
        returned="FULL" if returned == "FULL" else "HDRS" if returned == "HDRS" else "",
        envelope_id=read_xtext(params.get("ENVID", "")),
        notices=notices,
        require_tls="REQUIRETLS" in params,
    )


def mail_parameters(wishes: DeliveryWishes) -> list[str]:
    """RET and ENVID for a server that offers DSN."""
    params = [f"RET={wishes.returned}"] if wishes.returned else []
    return [*params, f"ENVID={write_xtext(wishes.envelope_id)}"] if wishes.envelope_id else params


def recipient_parameters(wishes: DeliveryWishes, recipient: str) -> list[str]:
    """NOTIFY and ORCPT for a server that offers DSN."""
    notice = wishes.notice(recipient)
    params = []
    if notice.notify is not None:
        params.append(f"NOTIFY={','.join(notice.notify) or 'NEVER'}")
    if notice.original:
        kind, _, address = notice.original.partition(";")
        params.append(f"ORCPT={kind};{_write_address(kind, address)}")
    return params


def is_right(keyword: str, value: str) -> bool:
    """Whether RET or ENVID has a value it may have."""
    if keyword == "RET":
        return value.upper() in ("FULL", "HDRS")
    return 0 < len(value) <= MAX_ENVID and _printable(value)


def _printable(value: str) -> bool:
    try:
        read_xtext(value)
    except BadWish:
        return False
    return True


def _read_notify(value: str) -> tuple[Occasion, ...]:
    words = value.upper().split(",")
    if words == ["NEVER"]:  # RFC 3461 4.1: alone
        return ()
    if len(set(words)) != len(words) or not set(words) <= set(_OCCASIONS):
        raise BadWish("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY.")
    return tuple(one for one in _OCCASIONS if one in words)


def read_original(value: str) -> str:
    """An ORCPT as "type;address", the encoding undone. Raises BadWish."""
    kind, semicolon, text = value.partition(";")
    if not semicolon or not text or len(value) > MAX_ORCPT or not _ADDRESS_TYPE.fullmatch(kind):
        raise BadWish("ORCPT is a type of address, a semicolon and the address.")
    if kind.lower() != "utf-8":
        return f"{kind};{read_xtext(text)}"
    try:
        address = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        address.encode()
    except ValueError:  # no such character, or a surrogate
        raise BadWish("The address of ORCPT cannot be read.") from None
    if "\\" in address or not address.isprintable():
        raise BadWish("The address of ORCPT cannot be read.")
    return f"{kind};{address}"


def read_xtext(value: str) -> str:
    """xtext, decoded. Raises BadWish for what is none, or hides what is not printable ASCII."""
    if not _XTEXT.fullmatch(value):
        raise BadWish("The value is not xtext.")
    text = _HEX.sub(lambda match: chr(int(match[1], 16)), value)
    if not all(" " <= letter <= "~" for letter in text):  # RFC 3461 4.2, 4.4: printable US-ASCII
        raise BadWish("The value hides a character that may not stand in it.")
    return text


def write_xtext(text: str) -> str:
    """Printable ASCII as xtext."""
    return _UNSAFE.sub(lambda match: f"+{ord(match[0]):02X}", text)


def _write_address(kind: str, address: str) -> str:
    if kind.lower() != "utf-8":
        return write_xtext(address)
    # utf-8-addr-xtext can be said to every server, with SMTPUTF8 or without (RFC 6533 3).
    return re.sub(r"[^!-*,-<>-\[\]-~]", lambda match: f"\\x{{{ord(match[0]):02X}}}", address)
