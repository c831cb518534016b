"""Whatever the documents, definitions and questions are, an index answers what Python computes over all documents."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from leap.soledad.index_queries import successor
from leap.soledad.store import Soledad
from tests.soledad.schemas import open_store

Values = Callable[[Any], list[Any]]
Definition = tuple[str, Values]
DocContent = dict[str, Any]

NAMES = ["a", "b", "it's", 'q"t', "b\\s", "é", "[0]", "$"]
names = st.sampled_from(NAMES)
texts = st.text(
    st.sampled_from(
        "aAbBzé É ß İ Σ ς 0 9 * % _ \0 \t ' \" \\ \ud7ff \ue000 \U0010ffff".replace(" ", "") + " "
    ),
    max_size=4,
)
numbers = st.integers(-20, 20) | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
scalars = texts | numbers | st.booleans() | st.none() | st.sampled_from([0.5, 1e300])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
contents = st.dictionaries(names, scalars | values, min_size=1, max_size=4)


def field(path: list[str]) -> Definition:
    def evaluate(content: Any) -> list[Any]:
        reached = [content]
        for depth, name in enumerate(path):
            inner = [each[name] for each in reached if isinstance(each, dict) and name in each]
            lists = ([each] if not isinstance(each, list) else each for each in inner)
            reached = list(itertools.chain.from_iterable(lists))
            last = depth == len(path) - 1
            reached = [e for e in reached if last or isinstance(e, dict)]
        return [each for each in reached if isinstance(each, str | int | float)]

    return ".".join(path), evaluate


def only(
    kind: type, name: str, change: Callable[[Any], list[Any]], more: str = ""
) -> Callable[..., Definition]:
    def around(inner: Definition) -> Definition:
        text, evaluate = inner
        return f"{name}({text}{more})", lambda content: [
            result for value in evaluate(content) if type(value) is kind for result in change(value)
        ]

    return around


def combine(parts: list[Definition]) -> Definition:
    joined = ", ".join(text for text, _ in parts)
    return f"combine({joined})", lambda content: [
        v for _, evaluate in parts for v in evaluate(content)
    ]


def is_null(inner: Definition) -> Definition:
    text, evaluate = inner
    return f"is_null({text})", lambda content: ["0" if evaluate(content) else "1"]


def around(inner: st.SearchStrategy[Definition]) -> st.SearchStrategy[Definition]:
    return st.one_of(
        inner.map(only(str, "lower", lambda text: [text.lower()])),
        inner.map(only(str, "split_words", str.split)),
        inner.map(only(bool, "bool", lambda truth: ["1" if truth else "0"])),
        inner.map(only(int, "number", lambda number: [f"{number:03}"], ", 3")),
        st.lists(inner, min_size=1, max_size=2).map(combine),
    )


fields = st.lists(names, min_size=1, max_size=2).map(field)
plain = fields | around(fields) | st.recursive(fields, around, max_leaves=3)
definitions = plain | plain.map(is_null)
indexes = st.lists(definitions, min_size=1, max_size=2)


def keys_of(index: list[Definition], content: DocContent) -> set[tuple[str, ...]]:
    columns = [[v for v in evaluate(content) if isinstance(v, str)] for _, evaluate in index]
    return set(itertools.product(*columns))


def ask(
    docs: dict[str, DocContent], index: list[Definition], fits: Callable[[tuple[str, ...]], bool]
) -> list[str]:
    found = [
        (min(keys), doc_id)
        for doc_id, content in docs.items()
        if (keys := {key for key in keys_of(index, content) if fits(key)})
    ]
    return [doc_id for _, doc_id in sorted(found)]


def matches(key: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    return all(
        value.startswith(want[:-1]) if want.endswith("*") else value == want
        for value, want in zip(key, asked, strict=True)
    )


def in_range(key: tuple[str, ...], start: Any, end: Any) -> bool:
    def bound(asked: tuple[str, ...]) -> list[str]:
        known = [want for want in asked if want != "*"]
        return [want.removesuffix("*") for want in known]

    if start is not None and list(key)[: len(bound(start))] < bound(start):
        return False
    if end is None:
        return True
    limit = bound(end)
    head = list(key)[: len(limit)]
    if limit and any(want.endswith("*") and want != "*" for want in end):
        return head[:-1] < limit[:-1] or (
            head[:-1] == limit[:-1] and (head[-1] <= limit[-1] or head[-1].startswith(limit[-1]))
        )
    return head <= limit


@st.composite
def questions(draw: st.DrawFn, width: int, known: list[tuple[str, ...]]) -> tuple[str, ...]:
    """A key as the rules allow it, near to what is there."""
    base = draw(st.sampled_from(known)) if known else ("",) * width
    exact = draw(st.integers(0, width))
    asked = [text if not text.endswith("*") else f"{text}*" for text in base[:exact]]
    asked = (
        [text for text in asked if not text.endswith("*")]
        if any(text.endswith("*") for text in asked)
        else asked
    )
    if len(asked) < width and draw(st.booleans()):
        prefix = base[len(asked)]
        asked.append(prefix[: draw(st.integers(0, len(prefix)))] + "*")
    return tuple(asked + ["*"] * (width - len(asked)))


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[asyncio.AbstractEventLoop, Soledad]]:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        store = loop.run_until_complete(open_store(Path(folder) / "s.db"))
        yield loop, store
        loop.run_until_complete(store.close())
    loop.close()


def empty(tx: Any) -> None:
    for name, _ in tx.connection.execute("SELECT name, 0 FROM document_index").fetchall():
        tx.delete_index(name)
    tx.connection.execute("DELETE FROM document")


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    index=indexes,
    before=st.lists(contents, max_size=4),
    after=st.lists(contents, max_size=3),
    edited=st.dictionaries(st.integers(0, 3), contents | st.none(), max_size=3),
    data=st.data(),
)
@example(
    index=[only(str, "lower", lambda text: [text.lower()])(field(["a"]))],
    before=[{"a": "X"}, {"a": "É"}, {"a": "X\0Y"}, {"a": ["Y", "y"]}],
    after=[],
    edited={0: {"a": "Éx"}, 1: {"a": "x"}},
    data=None,
)
@example(
    index=[only(int, "number", lambda number: [f"{number:03}"], ", 3")(field(["a"]))],
    before=[{"a": number} for number in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1)],
    after=[{"a": True}, {"a": 1.0}, {"a": -1}],
    edited={},
    data=None,
)
def test_equal_to_plain_python(
    shared: tuple[asyncio.AbstractEventLoop, Soledad],
    index: list[Definition],
    before: list[DocContent],
    after: list[DocContent],
    edited: dict[int, DocContent | None],
    data: Any,
) -> None:
    loop, store = shared
    docs: dict[str, DocContent] = {}

    def fill(tx: Any, first: int, news: list[DocContent]) -> None:
        for number, content in enumerate(news, first):
            docs[f"d{number}"] = content
            tx.put(f"d{number}", content)

    def edit(tx: Any) -> None:
        for number, content in edited.items():
            if f"d{number}" not in docs:
                continue
            if content is None:
                tx.delete(f"d{number}")
                del docs[f"d{number}"]
            else:
                fill(tx, number, [content])

    def prepare(tx: Any) -> None:
        empty(tx)
        fill(tx, 0, before)
        tx.create_index("i", *(text for text, _ in index))
        fill(tx, len(before), after)
        edit(tx)

    run = loop.run_until_complete
    run(store.transact(prepare))
    known = sorted(set().union(*(keys_of(index, content) for content in docs.values())))
    assert run(store.get_index_keys("i")) == known
    width = len(index)
    asked = (
        [("*",) * width]
        if data is None
        else data.draw(st.lists(questions(width, known), min_size=2, max_size=4))
    )
    for question in asked:
        found = [document.doc_id for document in run(store.get_from_index("i", *question))]
        assert found == ask(docs, index, lambda key, question=question: matches(key, question))
        assert run(store.get_count_from_index("i", *question)) == len(found)
    for start, end in itertools.permutations([None, *asked], 2):
        found = [d.doc_id for d in run(store.get_range_from_index("i", start, end))]
        assert found == ask(docs, index, lambda key, s=start, e=end: in_range(key, s, e))


@pytest.mark.parametrize(
    ("prefix", "after"),
    [("a", "b"), ("a\ud7ff", "a\ue000"), ("a\U0010ffff", "b"), ("\U0010ffff", None)],
)
def test_prefixes_end_before_their_successor(prefix: str, after: str | None) -> None:
    assert successor(prefix) == after
