"""Authentication-Results (RFC 8601): the field in which the own provider says what it found, and who else speaks so.

    field   = "Authentication-Results:" SP domain (login / checks) CRLF
    login   = sep "auth=pass smtp.auth=" address              ; submitted here, and nothing else was looked at
    checks  = sep "spf=" word [SP "smtp.mailfrom=" domain]
              1*8(sep "dkim=" word [SP "header.d=" domain])
              sep "dmarc=" word [SP "header.from=" domain] [SP "policy.dmarc=" policy]
    sep     = ";" CRLF HTAB

The MX writes it on top of each mail it takes in, and receiving writes it anew at the top of what is served. Of all that
RFC 8601 allows this one form is read; whatever differs says nothing.

Invariants:
* What is written is read as the same value; what is read is written as the same octets.
* No octet of a mail gets into the field except domains and addresses of a closed form.
* Reading never raises. A mail that holds a field in our provider's name holds a forged one: `speaks_for` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from leap.keymanager.canonical import canonical
from leap.mail.contract import DkimCheck, ProviderChecks
from leap.mail.outgoing.field_lines import Field, drop_fields, header_fields, with_fields

FIELD_NAME = "authentication-results"
MAX_DKIM = 8  # signatures that are told of; a mail with more is made to be long
RESULTS = frozenset(  # RFC 8601 2.7.1 to 2.7.3
    {"pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror"}
)
POLICIES = frozenset({"", "none", "quarantine", "reject"})  # RFC 9989 4.7, p=

_DOMAIN = r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?"
_ADDRESS = r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@" + _DOMAIN
_WORD = "(" + "|".join(sorted(RESULTS)) + ")"
_IS_DOMAIN = re.compile(_DOMAIN)
_IS_ADDRESS = re.compile(_ADDRESS)
_FIELD = re.compile(
    rf"Authentication-Results: (?P<by>{_DOMAIN})(?P<results>(?:;\r\n\t[ -:<-~=]+)+)\r\n"
)
_AUTH = re.compile(rf"auth=pass smtp\.auth=({_ADDRESS})")
_SPF = re.compile(rf"spf={_WORD}(?: smtp\.mailfrom=({_DOMAIN}))?")
_DKIM = re.compile(rf"dkim={_WORD}(?: header\.d=({_DOMAIN}))?")
_DMARC = re.compile(
    rf"dmarc={_WORD}(?: header\.from=({_DOMAIN}))?(?: policy\.dmarc=(none|quarantine|reject))?"
)

_SPOKEN = "spoken for"  # no name of a field
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+\)")
_MAX_NESTING = 4  # comments in comments
_HOST = re.compile(rb"[^\s\"();,=/@]+")


def results_field(own_domain: str, checks: ProviderChecks) -> bytes:
    """The field of the provider of `own_domain`, CRLF at the end; what is not of a closed form is left out."""
    if _IS_ADDRESS.fullmatch(checks.submitter):
        return _written(own_domain, [f"auth=pass smtp.auth={checks.submitter}"])
    policy = f" policy.dmarc={checks.policy}" if checks.policy in POLICIES - {""} else ""
    return _written(
        own_domain,
        [
            f"spf={_word(checks.spf)}{_property('smtp.mailfrom', checks.spf_domain)}",
            *(
                f"dkim={_word(one.result)}{_property('header.d', one.domain)}"
                for one in checks.dkim[:MAX_DKIM] or (DkimCheck(result="none"),)
            ),
            f"dmarc={_word(checks.dmarc)}{_property('header.from', checks.dmarc_domain)}{policy}",
        ],
    )


def _written(own_domain: str, results: Sequence[str]) -> bytes:
    text = "".join(f";\r\n\t{one}" for one in results)
    return f"Authentication-Results: {own_domain}{text}\r\n".encode("ascii")


def read_results_field(field: bytes, own_domain: str) -> ProviderChecks | None:
    """What a whole field says, if it is exactly as the provider of `own_domain` writes it; None otherwise."""
    if not field.isascii():
        return None
    found = _FIELD.fullmatch(field.decode("ascii"))
    if found is None or found["by"] != own_domain:
        return None
    checks = _read(found["results"].split(";\r\n\t")[1:])
    # one value, one form: so nothing that is read was written in some other way
    return checks if checks is not None and results_field(own_domain, checks) == field else None


def _read(results: Sequence[str]) -> ProviderChecks | None:
    checks = ProviderChecks()
    dkim: list[DkimCheck] = []
    for one in results:
        if auth := _AUTH.fullmatch(one):
            checks = msgspec.structs.replace(checks, submitter=auth[1])
        elif spf := _SPF.fullmatch(one):
            checks = msgspec.structs.replace(checks, spf=spf[1], spf_domain=spf[2] or "")
        elif signed := _DKIM.fullmatch(one):
            dkim.append(DkimCheck(result=signed[1], domain=signed[2] or ""))
        elif dmarc := _DMARC.fullmatch(one):
            checks = msgspec.structs.replace(
                checks, dmarc=dmarc[1], dmarc_domain=dmarc[2] or "", policy=dmarc[3] or ""
            )
        else:
            return None
    if dkim == [DkimCheck(result="none")]:
        dkim = []
    return msgspec.structs.replace(checks, dkim=tuple(dkim))


def without_spoken_for(fields: Sequence[Field], domain: str) -> list[Field]:
    """The fields but for those that speak in the name of the provider of `domain` (RFC 8601 5)."""
    marked = [Field(_SPOKEN, one.raw) if speaks_for(one, domain) else one for one in fields]
    return drop_fields(marked, _SPOKEN.__eq__)


def strip_spoken_for(message: bytes, domain: str) -> bytes:
    """The message without header fields that speak in the name of the provider of `domain`."""
    fields = header_fields(message)
    kept = without_spoken_for(fields, domain)
    return message if len(kept) == len(fields) else with_fields(kept, message)


def speaks_for(field: Field, domain: str) -> bool:
    """Whether it is an Authentication-Results field of the provider of `domain`, or passes for one.

    authres-header-field = "Authentication-Results:" [CFWS] authserv-id [CFWS version] *(";" ...)   ; RFC 8601 2.2
    """
    if not domain or field.name != FIELD_NAME:
        return False
    text = field.value
    for _ in range(_MAX_NESTING):
        text = _COMMENT.sub(b" ", text)
    head = text.partition(b";")[0]
    if b"(" in head or b")" in head:
        head = field.value  # comments beyond sense: in doubt, whoever is named anywhere
    named = head.replace(
        b"\\", b""
    ).lower()  # in a quoted string, before any letter (RFC 5322 3.2.4)
    return any(_is_of(host, domain) for host in _HOST.findall(named))


def _is_of(host: bytes, domain: str) -> bool:
    """Whether a name is the domain or below it, in whichever form its letters are (RFC 8601 2.5)."""
    name = host.rstrip(b".").decode("utf-8", "replace")
    if not name.isascii():
        name = canonical(f"x@{name}").partition("@")[2]
    own = domain.lower()
    return name == own or name.endswith(f".{own}")


def _word(result: str) -> str:
    return result if result in RESULTS else "none"


def _property(name: str, domain: str) -> str:
    return f" {name}={domain}" if _IS_DOMAIN.fullmatch(domain) else ""
