"""SPF records: from the text to directives, and macros expanded. Pure.

    record    = "v=spf1" *( 1*SP ( directive / modifier ) ) *SP                     ; RFC 7208 12
    directive = ["+" / "-" / "?" / "~"] mechanism
    mechanism = "all" / ("include" / "exists") ":" domain-spec / "ptr" [":" domain-spec]
              / ("a" / "mx") [":" domain-spec] ["/" cidr] ["//" cidr]
              / "ip4:" address ["/" cidr] / "ip6:" address ["/" cidr]
    modifier  = ("redirect" / "exp") "=" domain-spec / name "=" macro-string
    macro     = "%{" letter [digits] ["r"] *delimiter "}" / "%%" / "%_" / "%-"

Invariants:
* A record with one wrong term is wrong as a whole (RFC 7208 4.6).
* Nothing is raised but `BadRecord`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError
from urllib.parse import quote

MAX_TERMS = 512  # of a record: text records hold 64 KiB at most
MAX_SPEC = 1000  # characters, before expansion; a name has 253
_NAME_END = r"(?:\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?)"
_EXPAND = r"%(?:%|_|-|\{[slodiphvSLODIPHV][0-9]{0,3}[rR]?[-.+,/_=]*\})"
_STRING = rf"(?:[!-$&-~]|{_EXPAND})*"
_MACRO_STRING = re.compile(_STRING)
# c, r and t stand in explanations only (RFC 7208 7.2), which are not fetched
_DOMAIN_SPEC = re.compile(rf"{_STRING}(?:{_NAME_END}|{_EXPAND})")
_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([-.+,/_=]*)\})")
_ZERO = re.compile(r"%\{[A-Za-z]0+[rR]?[-.+,/_=]*\}")  # a number of labels is not zero
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9]*)(.*)")
_CIDR = r"(0|[1-9][0-9]{0,2})"
_ARGUMENT = re.compile(rf"(?::(.+?))?(?:/{_CIDR})?(?://{_CIDR})?")
_QUALIFIERS = {"": "pass", "+": "pass", "-": "fail", "?": "neutral", "~": "softfail"}
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}


class BadRecord(Exception):
    """The record is wrong (permerror); the text says in what."""


@dataclass(frozen=True, slots=True)
class Directive:
    """`result` is what a match means; `target` a domain-spec or None for the current domain."""

    result: str
    mechanism: str
    target: str | None = None
    prefix4: int = 32
    prefix6: int = 128
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """What is to be tried in order, and where to go on when nothing matches."""

    directives: tuple[Directive, ...]
    redirect: str | None = None


def is_spf(record: bytes) -> bool:
    """Whether a text record is one of SPF (RFC 7208 4.5)."""
    return record[:6].lower() == b"v=spf1" and record[6:7] in (b"", b" ")


def parse_record(record: bytes) -> SpfRecord:
    """What a record says. Raises BadRecord."""
    if not record.isascii():
        raise BadRecord("it is not ASCII")
    terms = [term for term in record[6:].decode("ascii").split(" ") if term]
    if len(terms) > MAX_TERMS:
        raise BadRecord("it is too long")
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    for term in terms:
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            directives.append(_directive(term))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp"):
            if name in modifiers:  # RFC 7208 6: once each
                raise BadRecord(f"{name}= stands twice")
            modifiers[name] = _domain_spec(value)
        elif not _is_macro_string(value):
            raise BadRecord("a modifier's value is wrong")
    return SpfRecord(tuple(directives), modifiers.get("redirect"))


def _directive(term: str) -> Directive:
    found = _DIRECTIVE.fullmatch(term)
    if found is None:
        raise BadRecord("a term is neither directive nor modifier")
    result, mechanism, rest = _QUALIFIERS[found[1]], found[2].lower(), found[3]
    if mechanism == "all":
        if rest:
            raise BadRecord("all has an argument")
        return Directive(result, "all")
    if mechanism in ("ip4", "ip6"):
        return Directive(result, mechanism, network=_network(mechanism, rest))
    if mechanism in ("include", "exists", "ptr"):
        if mechanism == "ptr" and not rest:
            return Directive(result, "ptr")
        if not rest.startswith(":"):
            raise BadRecord(f"{mechanism} has no domain")
        return Directive(result, mechanism, _domain_spec(rest[1:]))
    if mechanism in ("a", "mx"):
        return _host_directive(result, mechanism, rest)
    raise BadRecord("a mechanism is not known")


def _host_directive(result: str, mechanism: str, rest: str) -> Directive:
    argument = _ARGUMENT.fullmatch(rest)
    if argument is None:
        raise BadRecord(f"{mechanism} has a wrong argument")
    target, four, six = argument.groups()
    prefix4, prefix6 = int(four or 32), int(six or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise BadRecord("a prefix is too long")
    return Directive(
        result, mechanism, None if target is None else _domain_spec(target), prefix4, prefix6
    )


def _network(mechanism: str, rest: str) -> IPv4Network | IPv6Network:
    text, slash, prefix = rest[1:].partition("/")
    if not rest.startswith(":") or (slash and not re.fullmatch(_CIDR, prefix)) or "%" in text:
        raise BadRecord(f"{mechanism} has a wrong argument")
    try:
        # an IPv6 address with an IPv4 one at its end is read by the standard library, too
        kind = IPv4Network if mechanism == "ip4" else IPv6Network
        return kind(rest[1:], strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise BadRecord(f"{mechanism} has no network") from None


def _domain_spec(text: str) -> str:
    if len(text) > MAX_SPEC or not _DOMAIN_SPEC.fullmatch(text) or _ZERO.search(text):
        raise BadRecord("a domain is wrong")
    return text


def _is_macro_string(text: str) -> bool:
    return _MACRO_STRING.fullmatch(text) is not None and not _ZERO.search(text)


def uses_validated_name(spec: str) -> bool:
    """Whether expanding needs %{p}, which costs look-ups."""
    return any((found[2] or "").lower() == "p" for found in _MACRO.finditer(spec))


def expand(spec: str, values: Mapping[str, str]) -> str:
    """A domain-spec with its macros replaced; `values` by lower-case letter (RFC 7208 7.3)."""

    def replaced(found: re.Match[str]) -> str:
        if found[1]:
            return _ESCAPES[found[1]]
        parts = re.split(f"[{re.escape(found[5] or '.')}]", values[found[2].lower()])
        if found[4]:
            parts.reverse()
        if found[3]:
            parts = parts[-int(found[3]) :]
        text = ".".join(parts)
        return quote(text, safe="-._~") if found[2].isupper() else text

    name = _MACRO.sub(replaced, spec)
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]  # RFC 7208 7.3: labels on the left go until it fits
    return name
