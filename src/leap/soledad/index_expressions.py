"""What an index definition says: u1db's expressions, evaluated on a document and written as SQL. Pure.

    expression = field / "lower(" expression ")" / "number(" expression "," width ")" / "bool(" expression ")"
               / "split_words(" expression ")" / "is_null(" expression ")" / "combine(" expression *("," expression) ")"
    field      = name *("." name)      ; any text without "(", ")", "," and "."

An expression has a list of values in a document; those that are text are its entries in the index.

Invariants:
* `values` is the definition. `sql_value` is None, or the one value which `sql` has in the database as well;
  where it is None though there are values, `sql` is NULL, and the document is kept in a table of entries.
* `sql` is made of built-in functions only, so that any connection can write to the table; SQLite's `lower` knows
  ASCII only, so text with anything else counts as having no `sql_value`.
* What callers give as names of fields stands in `sql` inside quotes which it cannot leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from leap.soledad.errors import IndexDefinitionParseError

MAX_LENGTH = 1000  # characters of one expression
MAX_WIDTH = 255  # digits of number()
MAX_NESTING = 20
_INT64 = 2**63
_TOKENS = re.compile(r"[(),]|[^(),]+")
_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f]+')  # what JSON writes without escapes
_WIDTH = re.compile(r"[0-9]{1,3}")


class Expression(Protocol):
    """One column of an index."""

    @property
    def sql(self) -> str | None:
        """The same over the column `content`: text or NULL. None if SQL cannot say it."""

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        """All its values in this document."""

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        """What `sql` gives for this document."""


class Field:
    """The text at a path; of a list, each element; through a list of objects, the field of each."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = tuple(path)
        self.literal: str | None = None
        if all(_PLAIN_NAME.fullmatch(name) for name in path):
            quoted = ".".join(f'"{name}"' for name in path)
            self.literal = "'$." + quoted.replace("'", "''") + "'"

    @property
    def sql(self) -> str | None:
        if self.literal is None:
            return None
        return f"CASE {self.json_type} WHEN 'text' THEN {self.extract} END"

    @property
    def json_type(self) -> str:
        return f"json_type(content, {self.literal})"

    @property
    def extract(self) -> str:
        return f"json_extract(content, {self.literal})"

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return _walk(content, self.path, 0)

    def single(self, content: Mapping[str, Any]) -> Any:
        """The value if no list is on the path, None otherwise; may be a list or an object itself."""
        found: Any = content
        if self.literal is None:
            return None
        for name in self.path:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        found = self.single(content)
        return found if isinstance(found, str) else None


def _walk(value: Any, path: tuple[str, ...], depth: int) -> list[Any]:
    found = value.get(path[depth]) if isinstance(value, dict) else None
    if depth < len(path) - 1:
        inner = found if isinstance(found, list) else [found]
        return [result for each in inner for result in _walk(each, path, depth + 1)]
    results = found if isinstance(found, list) else [found]
    return [result for result in results if result is not None and type(result) not in (dict, list)]


class Lower:
    """Text in lower case, as Unicode has it."""

    def __init__(self, inner: Expression) -> None:
        self.inner = inner

    @property
    def sql(self) -> str | None:
        if isinstance(self.inner, Number | Bool):
            return self.inner.sql  # digits
        if not isinstance(self.inner, Field) or self.inner.literal is None:
            return None
        text = self.inner.extract
        return (  # one octet a character, and none of them NUL: ASCII
            f"CASE {self.inner.json_type} WHEN 'text' THEN"
            f" CASE WHEN length({text}) = octet_length({text}) THEN lower({text}) END END"
        )

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return [text.lower() for text in self.inner.values(content) if isinstance(text, str)]

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        if self.sql is None:
            return None
        text = self.inner.sql_value(content)
        return text.lower() if text is not None and text.isascii() and "\0" not in text else None


class Number:
    """A whole number as text, padded with zeros on the left so that texts sort as the numbers do."""

    def __init__(self, inner: Expression, width: int) -> None:
        self.inner = inner
        self.width = width

    @property
    def sql(self) -> str | None:
        if not isinstance(self.inner, Field) or self.inner.literal is None:
            return None
        number = self.inner.extract
        form = f"%0{self.width}d" if self.width else "%d"
        return (  # JSON's numbers beyond 64 bits are reals to SQLite
            f"CASE {self.inner.json_type} WHEN 'integer' THEN"
            f" CASE typeof({number}) WHEN 'integer' THEN printf('{form}', {number}) END END"
        )

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return [
            _padded(number, self.width)
            for number in self.inner.values(content)
            if type(number) is int
        ]

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        if not isinstance(self.inner, Field):
            return None
        number = self.inner.single(content)
        fits = type(number) is int and -_INT64 <= number < _INT64
        return _padded(number, self.width) if fits else None


def _padded(number: int, width: int) -> str:
    return f"{number:0{width}d}"


class Bool:
    """ "1" for true and "0" for false."""

    def __init__(self, inner: Expression) -> None:
        self.inner = inner

    @property
    def sql(self) -> str | None:
        if not isinstance(self.inner, Field) or self.inner.literal is None:
            return None
        return f"CASE {self.inner.json_type} WHEN 'true' THEN '1' WHEN 'false' THEN '0' END"

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return ["01"[truth] for truth in self.inner.values(content) if isinstance(truth, bool)]

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        truth = self.inner.single(content) if isinstance(self.inner, Field) else None
        return "01"[truth] if isinstance(truth, bool) else None


class SplitWords:
    """The words of a text, once each."""

    sql = None

    def __init__(self, inner: Expression) -> None:
        self.inner = inner

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        texts = (text for text in self.inner.values(content) if isinstance(text, str))
        return list(dict.fromkeys(word for text in texts for word in text.split()))

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        return None


class IsNull:
    """ "1" where the expression has no value, "0" where it has one."""

    sql = None

    def __init__(self, inner: Expression) -> None:
        self.inner = inner

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return ["0" if self.inner.values(content) else "1"]

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        return None


class Combine:
    """The values of several expressions."""

    sql = None

    def __init__(self, inner: Sequence[Expression]) -> None:
        self.inner = tuple(inner)

    def values(self, content: Mapping[str, Any]) -> list[Any]:
        return [value for each in self.inner for value in each.values(content)]

    def sql_value(self, content: Mapping[str, Any]) -> str | None:
        return None


_OF_ONE: dict[str, Callable[[Expression], Expression]] = {
    "lower": Lower,
    "bool": Bool,
    "split_words": SplitWords,
    "is_null": IsNull,
}


def parse_expression(text: str) -> Expression:
    """The expression; raises IndexDefinitionParseError, which says what is wrong with it."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise IndexDefinitionParseError(
            f"an index expression is a text of at most {MAX_LENGTH} characters"
        )
    tokens = [token for part in _TOKENS.findall(text) if (token := part.strip())]
    parser = _Parser(text, tokens)
    expression = parser.expression(0)
    if parser.tokens:
        raise parser.error(f"{parser.tokens[0]!r} after its end")
    return expression


class _Parser:
    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text = text
        self.tokens = tokens

    def error(self, problem: str) -> IndexDefinitionParseError:
        return IndexDefinitionParseError(f"the index expression {self.text!r} has {problem}")

    def take(self) -> str:
        if not self.tokens:
            raise self.error("no end")
        return self.tokens.pop(0)

    def expression(self, depth: int) -> Expression:
        if depth > MAX_NESTING:
            raise self.error(f"more than {MAX_NESTING} levels")
        word = self.take()
        if word in ("(", ")", ","):
            raise self.error(f"{word!r} where a field or a function is due")
        if self.tokens[:1] != ["("]:
            return self.field(word)
        self.take()
        if word == "combine":
            inner = [self.expression(depth + 1)]
            while self.closing_or_comma() == ",":
                inner.append(self.expression(depth + 1))
            return Combine(inner)
        if word == "number":
            number = self.expression(depth + 1)
            if self.closing_or_comma() != ",":
                raise self.error("a number() without a width")
            width = self.take()
            if not _WIDTH.fullmatch(width) or int(width) > MAX_WIDTH:
                raise self.error(f"a width that is not a number up to {MAX_WIDTH}")
            self.close(word)
            return Number(number, int(width))
        if word not in _OF_ONE:
            raise self.error(f"the unknown function {word!r}")
        argument = self.expression(depth + 1)
        self.close(word)
        if word == "lower" and isinstance(argument, Lower):
            return argument
        if word == "bool" and isinstance(argument, IsNull):
            return argument  # it is a truth value already
        return _OF_ONE[word](argument)

    def field(self, word: str) -> Expression:
        path = word.split(".")
        if not all(path) or "\0" in word:
            raise self.error("the name of a field with nothing before or after a dot")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise self.error("half a character in the name of a field") from None
        return Field(path)

    def closing_or_comma(self) -> str:
        token = self.take()
        if token not in (")", ","):
            raise self.error(f"{token!r} where a comma or a closing parenthesis is due")
        return token

    def close(self, word: str) -> None:
        if self.closing_or_comma() != ")":
            raise self.error(f"too many arguments for {word}()")
