"""Index expressions: what is one, and which values it has in a document."""

from typing import Any

import pytest

from leap.soledad.errors import IndexDefinitionParseError
from leap.soledad.index_expressions import parse_expression

TEXTS = ["fOo bar", 9, 9.2, True, None, ["bAa"], {"bing": "x"}, " bar  X"]


@pytest.mark.parametrize(
    ("expression", "content", "values"),
    [
        ("foo", {"foo": "bar"}, ["bar"]),
        ("foo", {"foo": None}, []),
        ("foo", {}, []),
        ("foo.baz", {"foo": {"baz": "bar"}}, ["bar"]),
        ("foo.baz", {"foo": "bar"}, []),
        ("foo", {"foo": {"baz": "bar"}}, []),
        ("foo", {"foo": ["bar", "zap"]}, ["bar", "zap"]),
        ("foo", {"foo": ["bar", ["baa"], "zap", {"bing": 9}, None]}, ["bar", "zap"]),
        ("foo", {"foo": [{"zap": "bar"}]}, []),
        (
            "foo.zap",
            {"foo": [{"zap": "bar"}, {"zap": "baz"}, "zap", [{"zap": "no"}]]},
            ["bar", "baz"],
        ),
        ("foo.zap.qux", {"foo": [{"zap": [{"qux": "a"}, {"qux": "b"}]}, {"zap": "c"}]}, ["a", "b"]),
        ("é ñ", {"é ñ": "x"}, ["x"]),
        ("lower(foo)", {"foo": TEXTS}, ["foo bar", " bar  x"]),
        ("lower(foo)", {"foo": "ÄÖ Ж ß İ"}, ["äö ж ß i̇"]),
        ("lower(lower(foo))", {"foo": "Ä"}, ["ä"]),
        ("split_words(foo)", {"foo": TEXTS}, ["fOo", "bar", "X"]),
        ("lower(split_words(foo))", {"foo": "One TWO one"}, ["one", "two", "one"]),
        ("split_words(lower(foo))", {"foo": "One TWO one"}, ["one", "two"]),
        ("number(foo, 5)", {"foo": [9, 235, "x", 9.0, True, [29], {"a": 1}]}, ["00009", "00235"]),
        ("number(foo, 5)", {"foo": 123456}, ["123456"]),
        ("number(foo, 5)", {"foo": -12}, ["-0012"]),
        ("number(foo, 0)", {"foo": 7}, ["7"]),
        ("number(lower(foo), 3)", {"foo": 7}, []),
        ("lower(number(foo, 3))", {"foo": 7}, ["007"]),
        ("bool(foo)", {"foo": [True, False, 42, "x", None]}, ["1", "0"]),
        ("combine(foo, bar)", {"foo": "a", "bar": ["b", "c"]}, ["a", "b", "c"]),
        (
            "combine(number(foo, 5), lower(bar), split_words(baz))",
            {"foo": 12, "bar": "ALLCAPS", "baz": "qux nox"},
            ["00012", "allcaps", "qux", "nox"],
        ),
        ("lower(combine(foo, bar))", {"foo": "A", "bar": 3}, ["a"]),
        ("is_null(foo)", {}, ["1"]),
        ("is_null(foo)", {"foo": []}, ["1"]),
        ("is_null(foo)", {"foo": "x"}, ["0"]),
        ("bool(is_null(foo))", {"foo": "x"}, ["0"]),
    ],
)
def test_values_are_those_of_u1db(expression: str, content: Any, values: list[Any]) -> None:
    assert parse_expression(expression).values(content) == values


@pytest.mark.parametrize(
    "expression",
    [
        "f",
        "  lower(a)",
        "lower(a)  ",
        "lower  (a)",
        "lower(  a)",
        "lower(a  )",
        "combine(a  , b  , c)",
        "combine(a,  b,  c)",
        "number(a  , 5)",
        "combine(lower(field1), split_words(field2), number(field3, 5))",
        "combine(a)",
        "it's",
        'quo"te',
    ],
)
def test_spaces_and_nesting_are_understood(expression: str) -> None:
    parse_expression(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "   ",
        "unknown_operation(field1)",
        "lower(a",
        "lower(ab))",
        "lower(ab)adsf",
        "(ab)",
        "a, b",
        "a.",
        ".a",
        "a..b",
        "lower(a.)",
        "lower()",
        "lower(a, b)",
        "combine()",
        "combine(a,)",
        "combine(lower(x)x,foo)",
        "    (a) ",
        "(@#@cc   @#!*DFJSXV(()jccd",
        "number(field, fnord)",
        "number(field)",
        "number(field, -5)",
        "number(field, 256)",
        "number(field, 5, 5)",
        "number(field, ٣)",
        "lower" + "(split_words" * 30 + "(a" + ")" * 31,
        "a" * 1001,
        "half \ud800",
        "nul \0",
    ],
)
def test_what_is_no_expression_is_refused_with_a_sentence(expression: str) -> None:
    with pytest.raises(IndexDefinitionParseError, match="index expression"):
        parse_expression(expression)


def test_an_expression_is_text() -> None:
    with pytest.raises(IndexDefinitionParseError):
        parse_expression(5)  # type: ignore[arg-type]
