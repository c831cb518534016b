"""What is asked of an index: exact values, prefixes and ranges, as conditions in SQL. Pure.

u1db's rules: one value for each column; "*" stands for anything, and may end the last value that is not "*" itself;
after such a value only "*" may follow. A range is between two such keys, both included, in the order of the index:
by the first column, among equals by the second, and so on. Texts are compared by code points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leap.soledad.errors import InvalidGlobbing, InvalidValueForIndex

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class Condition(NamedTuple):
    """A condition over columns, its parameters, and how many leading columns it fixes to one value."""

    sql: str
    parameters: list[str]
    fixed: int


class Key(NamedTuple):
    """The values of a key up to its first "*", and the prefix that stands before it."""

    exact: tuple[str, ...]
    prefix: str | None


def parse_key(values: Sequence[str], columns: int) -> Key:
    """Raises InvalidValueForIndex for values that do not fit, InvalidGlobbing for a "*" out of its place."""
    if len(values) != columns:
        raise InvalidValueForIndex(f"this index takes {columns} values, not {len(values)}")
    exact: list[str] = []
    prefix: str | None = None
    starred = False
    for value in values:
        _check_text(value)
        if value == "*":
            starred = True
        elif starred:
            raise InvalidGlobbing('after a value that ends with "*" only "*" may follow')
        elif value.endswith("*"):
            prefix, starred = value[:-1], True
        else:
            exact.append(value)
    return Key(tuple(exact), prefix)


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        raise InvalidValueForIndex("the values of an index are texts")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueForIndex("a value of an index holds half a character") from None


def match(values: Sequence[str], columns: Sequence[str]) -> Condition:
    """The entries that have these values. Raises as `parse_key` does."""
    key = parse_key(values, len(columns))
    count = len(key.exact)
    parts = [f"{column} = ?" for column in columns[:count]]
    parameters = list(key.exact)
    rest = list(columns[count:])
    if key.prefix is not None:
        sql, bounds = _prefixed(rest.pop(0), key.prefix)
        parts.append(sql)
        parameters += bounds
    parts += [f"{column} IS NOT NULL" for column in rest]
    return Condition(" AND ".join(parts), parameters, count)


def between(
    start: Sequence[str] | str | None, end: Sequence[str] | str | None, columns: Sequence[str]
) -> Condition:
    """The entries from `start` to `end`, None for an open end. Raises as `parse_key` does."""
    parts: list[str] = []
    parameters: list[str] = []
    for bound, above in ((start, True), (end, False)):
        if bound is None:
            continue
        key = parse_key([bound] if isinstance(bound, str) else bound, len(columns))
        sql, values = _beyond(key, columns, above)
        if sql:
            parts.append(sql)
            parameters += values
    parts += [f"{column} IS NOT NULL" for column in columns]
    return Condition(" AND ".join(parts), parameters, 0)


def _beyond(key: Key, columns: Sequence[str], above: bool) -> tuple[str, list[str]]:
    """Not before (not after) the key: a comparison of the first column, which the index can use, and the rest."""
    sql, parameters = "", list[str]()
    if key.prefix is not None:
        column = columns[len(key.exact)]
        if above:
            sql, parameters = f"{column} >= ?", [key.prefix]
        elif (after := successor(key.prefix)) is not None:
            sql, parameters = f"{column} < ?", [after]
    beyond = ">" if above else "<"
    for position in range(len(key.exact) - 1, -1, -1):
        column, value = columns[position], key.exact[position]
        if sql:
            sql = f"{column} {beyond}= ? AND ({column} {beyond} ? OR ({sql}))"
            parameters = [value, value, *parameters]
        else:
            sql, parameters = f"{column} {beyond}= ?", [value]
    return sql, parameters


def _prefixed(column: str, prefix: str) -> tuple[str, list[str]]:
    after = successor(prefix)
    if after is None:
        return f"{column} >= ?", [prefix]
    return f"{column} >= ? AND {column} < ?", [prefix, after]


def successor(prefix: str) -> str | None:
    """The first text behind all that begin with `prefix`; None if there is none."""
    kept = prefix.rstrip(chr(_LAST))
    if not kept:
        return None
    code = ord(kept[-1]) + 1
    if code in _SURROGATES:
        code = _SURROGATES.stop
    return kept[:-1] + chr(code)
