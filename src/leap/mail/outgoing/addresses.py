"""Who a From, To or Cc field names: strictly where safety hangs on it, leniently where it does not.

    mailbox      = [phrase] "<" addr-spec ">" / addr-spec          ; RFC 5322 3.4
    mailbox-list = mailbox *("," mailbox)

Invariants:
* `strict_addresses` answers None rather than guess: two readers of the field could differ.
* Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from leap.keymanager.canonical import canonical

MAX_VALUE = (
    256 * 1024
)  # octets of one address field looked at; real ones of 1,000 people have 60 kB

MAX_IN_LETTERS = 300  # addresses outside ASCII put into that form: each costs 0.1 to 0.5 ms

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<special>[<>@,:;])
      | (?P<literal>\[[^\[\]\\\s]*\])
      | (?P<atom>[^\s<>@,:;"()\[\]\\]+)""",
    re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ANGLE = re.compile(r"<\s*([^\s<>@,:;\"()\[\]\\]+@[^\s<>@,:;\"()\\]+)\s*>")
_RUN = re.compile(r"[^\s<>,:;\"()\[\]\\]+")


def normal(address: str) -> str:
    """The form in which addresses are compared."""
    return canonical(address)


def without_tag(address: str) -> str:
    """alice@example.org of alice+lists@example.org; other addresses as they are."""
    local, at, domain = address.rpartition("@")
    base = local.split("+", 1)[0]
    return f"{base}{at}{domain}" if base else address


def domain_of(address: str) -> str:
    return normal(address).rpartition("@")[2]


def strict_addresses(value: bytes) -> list[str] | None:
    """The addresses of a mailbox-list in normal form, or None when any reader could see another one."""
    tokens = _tokens(value)
    if tokens is None:
        return None
    addresses: list[str] = []
    for mailbox in _split(tokens, ","):
        address = _mailbox(mailbox)
        if address is None:
            return None
        addresses.append(address)
    return addresses


def only_address(values: Iterable[bytes]) -> str | None:
    """The one address of the one field whose values are given, or None if that is not beyond doubt."""
    fields = list(values)
    if len(fields) != 1:
        return None
    addresses = strict_addresses(fields[0])
    return addresses[0] if addresses is not None and len(addresses) == 1 else None


def mentioned_addresses(values: Iterable[bytes]) -> set[str]:
    """Everything that looks like an address in these fields, in normal form."""
    found: set[str] = set()
    in_letters = 0
    for value in values:
        for run in _address_runs(value[:MAX_VALUE].decode("utf-8", "replace")):
            in_letters += not run.isascii()
            found.add(normal(run) if in_letters <= MAX_IN_LETTERS else run.lower())
    return found


def _address_runs(text: str) -> Iterator[str]:
    """Runs of characters with one "@" inside, in linear time."""
    for run in _RUN.finditer(text):
        local, at, domain = run[0].partition("@")
        if local and at and domain and "@" not in domain:
            yield run[0]


def _pieces(text: str) -> Iterator[str]:
    """The elements of an address list; quoted strings may hold commas, groups end in semicolons."""
    start = 0
    quoted = False
    escaped = False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = quoted
        elif char == '"':
            quoted = not quoted
        elif char in ",;" and not quoted:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def lenient_mailboxes(text: str) -> list[tuple[str, str]]:
    """(display name or "", address) of each mailbox that can be made out, in order."""
    found: list[tuple[str, str]] = []
    for piece in _pieces(text):
        angle = _ANGLE.search(piece)
        address = angle[1] if angle else next(_address_runs(piece), None)
        if address is None:
            continue
        display = piece[: angle.start()].strip() if angle else ""
        display = display.rpartition(":")[2].strip() if display[:1] != '"' else display
        if len(display) > 1 and display[0] == display[-1] == '"':
            display = re.sub(r"\\(.)", r"\1", display[1:-1])
        found.append((display, address))
    return found


def _tokens(value: bytes) -> list[tuple[str, str]] | None:
    if len(value) > MAX_VALUE:
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        # The display name may be in any charset; the address itself must not be.
        text = value.decode("latin-1")
        if any(ord(char) > 127 for part in re.findall(r"[^\s<]*@[^\s>]*", text) for char in part):
            return None
    if _CONTROL.search(text):
        return None
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        if text[position] == "(":
            end = _comment_end(text, position)
            if end is None:
                return None
            tokens.append(("space", " "))
            position = end
            continue
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            return None
        tokens.append((match.lastgroup, match[0]))
        position = match.end()
    return tokens


def _comment_end(text: str, start: int) -> int | None:
    depth = 0
    position = start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return None


def _split(tokens: list[tuple[str, str]], separator: str) -> list[list[tuple[str, str]]]:
    parts: list[list[tuple[str, str]]] = [[]]
    for token in tokens:
        if token == ("special", separator):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if any(kind != "space" for kind, _ in part)]


def _mailbox(tokens: list[tuple[str, str]]) -> str | None:
    trimmed = [token for token in tokens if token[0] != "space"]
    words = [text if kind == "special" else "" for kind, text in trimmed]
    if "<" not in words:
        # Space inside a bare address would let "alice@example.org eve" be read in two ways.
        bare = tokens[_first(tokens) : len(tokens) - _first(tokens[::-1])]
        return _addr_spec(bare)
    open_at = words.index("<")
    if words[-1] != ">" or words.count("<") != 1 or words.count(">") != 1:
        return None
    address = _addr_spec(trimmed[open_at + 1 : -1])
    phrase = trimmed[:open_at]
    # alice@example.org <alice@example.org>, unquoted, is common; with two different ones it is a trick.
    tricky = any(kind == "special" for kind, _ in phrase) and _addr_spec(phrase) != address
    return None if tricky else address


def _first(tokens: list[tuple[str, str]]) -> int:
    return next((i for i, (kind, _) in enumerate(tokens) if kind != "space"), 0)


def _addr_spec(tokens: list[tuple[str, str]]) -> str | None:
    if len(tokens) != 3 or tokens[1] != ("special", "@"):
        return None
    (local_kind, local), _, (domain_kind, domain) = tokens
    if local_kind not in ("atom", "quoted") or domain_kind not in ("atom", "literal"):
        return None
    if local_kind == "quoted" and re.fullmatch(r'"[A-Za-z0-9.!#$%&\'*+/=?^_`{|}~-]+"', local):
        local = local[1:-1]  # RFC 5321 4.1.2: quotes that are not needed mean nothing
    return normal(f"{local}@{domain}")
