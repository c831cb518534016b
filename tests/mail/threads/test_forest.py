"""IMAP's two threading algorithms (RFC 5256 3), with what the RFC says of each step."""

from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.threads.forest import Node, Sent, thread_by_ordered_subject, thread_by_references
from leap.mail.threads.subject import base_subject


def sent(
    key: int, name: str = "", references: str = "", subject: str = "", date: int | None = None
) -> Sent[int]:
    """Message ids are single letters here."""
    return Sent(key, name, tuple(references), base_subject(subject), key if date is None else date)


def written(forest: list[Node[int]]) -> str:
    """As IMAP writes it: (2)(3 6 (4 23)(44 7 96))."""

    def thread(node: Node[int]) -> str:
        own = "" if node.key is None else str(node.key)
        if len(node.children) == 1 and own:
            return f"{own} {thread(node.children[0])}"
        below = "".join(f"({thread(child)})" for child in node.children)
        return f"{own} {below}" if own and below else own + below

    return "".join(f"({thread(node)})" for node in forest)


def test_the_example_of_the_rfc() -> None:
    # RFC 5256 4, THREAD response: 2 | 3 - 6 - {4 - 23, 44 - 7 - 96}
    forest = thread_by_references(
        [
            sent(2, "a", date=1),
            sent(3, "b", date=2),
            sent(4, "d", "bc", date=4),
            sent(6, "c", "b", date=3),
            sent(7, "g", "bcf", date=7),
            sent(23, "e", "bcd", date=5),
            sent(44, "f", "bc", date=6),
            sent(96, "h", "bcfg", date=8),
        ]
    )
    assert written(forest) == "(2)(3 6 (4 23)(44 7 96))"


def test_siblings_without_their_parent_stay_together() -> None:
    # RFC 5256 4: "* THREAD ((3)(5))"
    assert written(thread_by_references([sent(3, "b", "a"), sent(5, "c", "a")])) == "((3)(5))"


def test_a_missing_message_with_one_child_gives_its_place_to_it() -> None:
    assert written(thread_by_references([sent(1, "b", "a"), sent(2, "c", "ab")])) == "(1 2)"


def test_below_the_root_missing_messages_go_always() -> None:
    forest = thread_by_references(
        [sent(1, "a"), sent(2, "x", "am"), sent(3, "y", "am")]  # m is missing
    )
    assert written(forest) == "(1 (2)(3))"


def test_references_that_go_in_circles_make_no_circle() -> None:
    forest = thread_by_references([sent(1, "a", "b"), sent(2, "b", "a"), sent(3, "c", "abca")])
    assert sorted(keys(forest)) == [1, 2, 3]


def test_a_message_s_own_last_reference_beats_what_others_say_of_it() -> None:
    forest = thread_by_references(
        [sent(1, "a"), sent(2, "b"), sent(3, "d", "ac"), sent(4, "c", "b")]
    )
    assert written(forest) == "(1)(2 4 3)"


def test_what_others_say_of_its_parent_goes_even_if_its_own_word_would_make_a_circle() -> None:
    forest = thread_by_references(
        [sent(1, "a", date=3), sent(2, "b", "ac", date=1), sent(3, "c", "b", date=2)]
    )
    assert written(forest) == "(3 2)(1)"  # RFC 5256 3, step 1 B: c was under a by the word of b


def test_a_message_which_names_none_before_it_begins_a_thread() -> None:
    forest = thread_by_references(
        [sent(1, "c", "ab", date=3), sent(2, "a", date=1), sent(3, "b", date=2)]
    )
    assert written(forest) == "(2)(3 1)"  # RFC 5256 3, step 1 B: "it will now have no parent"


def test_two_messages_with_one_id_are_two_messages() -> None:
    forest = thread_by_references([sent(1, "a"), sent(2, "a"), sent(3, "b", "a")])
    assert written(forest) == "(1 3)(2)"


def test_roots_of_one_subject_are_one_thread() -> None:
    # step 5 (c): a reply hangs under what is none; of two equals neither is above the other
    assert (
        written(thread_by_references([sent(1, "a", "", "x"), sent(2, "b", "", "re: X")])) == "(1 2)"
    )
    assert (
        written(thread_by_references([sent(1, "a", "", "re: x"), sent(2, "b", "", "x")])) == "(2 1)"
    )
    equal = [sent(1, "a", "", "x"), sent(2, "b", "", "x"), sent(3, "c", "", "x")]
    assert written(thread_by_references(equal)) == "((1)(2)(3))"
    assert written(thread_by_references([sent(1, "a"), sent(2, "b")])) == "(1)(2)"


def test_missing_roots_of_one_subject_become_one() -> None:
    forest = thread_by_references(
        [
            sent(1, "b", "a", "re: x"),
            sent(2, "c", "a", "re: x"),
            sent(3, "e", "d", "re: x"),
            sent(4, "f", "d", "re: x"),
            sent(5, "g", "", "x"),
        ]
    )
    assert written(forest) == "((1)(2)(3)(4)(5))"


def test_ordered_subject_gathers_by_base_subject_and_sorts_by_date() -> None:
    forest = thread_by_ordered_subject(
        [
            sent(1, subject="b", date=9),
            sent(2, subject="Re: a", date=5),
            sent(3, subject="a (fwd)", date=4),
            sent(4, subject="[list] A", date=6),
            sent(5, subject="b", date=8),
        ]
    )
    assert written(forest) == "(3 (2)(4))(5 1)"


def keys(forest: list[Node[int]]) -> list[int]:
    below = list(forest)
    for node in below:
        below.extend(node.children)
    return [node.key for node in below if node.key is not None]


_LETTERS = st.sampled_from("abcdefgh")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdefgh "),
            st.lists(_LETTERS, max_size=4),
            st.sampled_from(["", "x", "re: x", "y"]),
            st.integers(0, 5),
        ),
        max_size=12,
    )
)
def test_every_message_is_there_once_whatever_the_references_say(
    values: list[tuple[str, list[str], str, int]],
) -> None:
    mails = [
        sent(number, name.strip(), "".join(references), subject, date)
        for number, (name, references, subject, date) in enumerate(values)
    ]
    for forest in (thread_by_references(mails), thread_by_ordered_subject(mails)):
        assert sorted(keys(forest)) == list(range(len(mails)))
        below = list(forest)
        for node in below:
            below.extend(node.children)
            assert node.key is not None or len(node.children) > 1 or node not in forest
            dates = [values[min(keys([child]))][3] for child in node.children if not child.children]
            assert dates == sorted(dates)


def test_long_threads_in_any_order_take_no_time() -> None:
    chain = [
        Sent(number, f"<{number}>", tuple(f"<{one}>" for one in range(max(0, number - 10), number)),
             base_subject("re: x"), number)
        for number in range(5_000)
    ]  # fmt: skip
    random.Random(1).shuffle(chain)
    began = time.process_time()
    [root] = thread_by_references(chain)
    assert time.process_time() - began < 2
    assert root.key == 0
