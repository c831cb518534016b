"""Addresses and parameters of MAIL and RCPT (RFC 5321 4.1.2), and the argument of EHLO.

Lenient where the world is: dots may stand anywhere in a local part, a space may follow the colon, an
underscore may stand in a domain. Everything else that the grammar does not know is `BadSyntax`.

Invariants:
* One mailbox has one text: quotes that are not needed are taken away, the domain is in lower case.
  The local part keeps its case (RFC 5321 2.4): who compares addresses folds it.
* No address, parameter or name that is accepted holds a control character.
"""

from __future__ import annotations

import ipaddress
import re

MAX_ADDRESS = (
    320  # octets: 64 + "@" + 255 (RFC 5321 4.5.3.1), with no lower limit for the local part
)
MAX_DOMAIN = 255  # RFC 5321 4.5.3.1.2
MAX_NAME = 255

# Reverse-path = "<" [ A-d-l ":" ] Mailbox ">" / "<>"
# Mailbox      = ( Dot-string / Quoted-string ) "@" ( Domain / address-literal )
# The source route A-d-l is read and ignored, as RFC 5321 C says.
_UTF8 = "\x80-\U0010ffff"  # RFC 6531 3.3
_ATEXT = rf"A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.{_UTF8}-"  # with the dot
_DOMAIN_TEXT = rf"[A-Za-z0-9_{_UTF8}][A-Za-z0-9._{_UTF8}-]*"
_MAILBOX = re.compile(
    rf"""
    (?P<local> [{_ATEXT}]+ | "(?P<quoted> (?:[^"\\\x00-\x1f\x7f] | \\[\x20-\x7e])* )" )
    @
    (?P<domain> {_DOMAIN_TEXT} | \[ (?P<literal> [0-9A-Za-z:.]+ ) \] )
    """,
    re.VERBOSE,
)
_ROUTE = re.compile(rf"@{_DOMAIN_TEXT}(?:,@{_DOMAIN_TEXT})*:")
_ATOMS = re.compile(rf"[{_ATEXT}]+")
_POSTMASTER = re.compile(r"postmaster>", re.IGNORECASE)
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~{_UTF8}]+))?")  # esmtp-param
_NAME = re.compile(rf"[!-~{_UTF8}]+")

Parameters = dict[str, str]


class BadSyntax(ValueError):
    """The argument of a command is not what RFC 5321 4.1.2 describes; the text is a sentence."""


class BadAddress(BadSyntax):
    """It is the address that cannot be read (enhanced code X.1.3 or X.1.7)."""


def parse_path(text: str) -> tuple[str, Parameters]:
    """The address in `<...>` at the beginning of `text` and the parameters behind it.

    The null path `<>` gives "", a bare `<postmaster>` gives "postmaster". Keys of parameters are in
    upper case. Raises BadSyntax.
    """
    text = text.lstrip(" ")
    if not text.startswith("<"):
        raise BadAddress("The address must stand in angle brackets.")
    if text.startswith("<>"):
        return "", _parse_parameters(text[2:])
    start = 1
    if route := _ROUTE.match(text, start):
        start = route.end()
    if postmaster := _POSTMASTER.match(text, start):  # RFC 5321 4.1.1.3
        return "postmaster", _parse_parameters(text[postmaster.end() :])
    match = _MAILBOX.match(text, start)
    if match is None or not text.startswith(">", match.end()):
        raise BadAddress("This is not an address.")
    return _normal(match), _parse_parameters(text[match.end() + 1 :])


def parse_address(text: str) -> str:
    """An address without brackets, in the one form used here. Raises BadAddress."""
    match = _MAILBOX.fullmatch(text)
    if match is None:
        raise BadAddress("This is not an address.")
    return _normal(match)


def _normal(match: re.Match[str]) -> str:
    local, quoted, domain = match["local"], match["quoted"], match["domain"]
    if quoted is not None:
        plain = re.sub(r"\\(.)", r"\1", quoted)
        local = plain if _ATOMS.fullmatch(plain) else _quote(plain)
    if match["literal"] is not None:
        _check_literal(match["literal"])
    elif domain.endswith(".") or ".." in domain:
        raise BadAddress("The domain of the address cannot be read.")
    address = f"{local}@{domain.lower()}"
    if len(domain.encode()) > MAX_DOMAIN or len(address.encode()) > MAX_ADDRESS:
        raise BadAddress(f"The address is longer than {MAX_ADDRESS} octets.")
    return address


def _quote(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _check_literal(text: str) -> None:
    """address-literal of RFC 5321 4.1.3."""
    version, colon, rest = text.partition(":")
    try:
        if colon and version.lower() == "ipv6":
            ipaddress.IPv6Address(rest)
        else:
            ipaddress.IPv4Address(text)
    except ValueError as error:
        raise BadAddress("The address literal cannot be read.") from error


def _parse_parameters(text: str) -> Parameters:
    parameters: Parameters = {}
    if text and not text.startswith(" "):
        raise BadSyntax("A space must stand between the address and its parameters.")
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise BadSyntax("A parameter cannot be read.")
        keyword = match[1].upper()
        if keyword in parameters:
            raise BadSyntax(f"The parameter {keyword} stands there twice.")
        parameters[keyword] = match[2] or ""
    return parameters


def parse_name(text: str) -> str:
    """What a client calls itself in HELO or EHLO; any printable word will do. Raises BadSyntax."""
    name = text.strip(" ")
    if not _NAME.fullmatch(name) or len(name.encode()) > MAX_NAME:
        raise BadSyntax("A host name must follow.")
    return name


def split_address(address: str) -> tuple[str, str]:
    """Local part and domain, the domain "" when there is none."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def is_ascii(address: str) -> bool:
    """Whether the address can be sent to a server that does not know SMTPUTF8 (RFC 6531)."""
    return address.isascii()
