"""docs/threat-model.md names every attack under its guarantee, and no attack that is not there."""

from __future__ import annotations

import re

import pytest

from leap.soledad import errors
from tests.conftest import ROOT
from tests.hostile.catalogue import ATTACKS, NAMED_IN_THE_DOCUMENT
from tests.hostile.server import Attack

DOCUMENT = (ROOT / "docs" / "threat-model.md").read_text()
PARAGRAPHS = re.split(r"\n(?=\*\*G\d|\* \*\*[GL]\d|And further|\*Tests)", DOCUMENT)


def paragraph(number: str) -> str:
    found = [text for text in PARAGRAPHS if re.match(rf"(\* )?\*\*{re.escape(number)}[. ]", text)]
    assert len(found) == 1, f"{number} stands {len(found)} times in the document"
    return found[0]


@pytest.mark.parametrize("kind", NAMED_IN_THE_DOCUMENT, ids=lambda kind: kind.__name__)
def test_each_attack_stands_under_its_guarantee(kind: type[Attack]) -> None:
    assert f"`{kind.__name__}`" in paragraph(kind.guarantee)
    assert re.fullmatch(r"[A-Z].*\.", (kind.__doc__ or "").strip(), re.DOTALL)


def test_the_document_names_no_attack_that_is_not_there() -> None:
    named = {
        name
        for text in PARAGRAPHS
        for part in text.split("*Attacks:*")[1:]
        for name in re.findall(r"`([A-Z]\w+)`", part.split("*Tests:*")[0])
    }
    assert named == {kind.__name__ for kind in NAMED_IN_THE_DOCUMENT}


def test_guarantees_are_numbered_and_each_names_tests_that_are_there() -> None:
    numbers = re.findall(r"(?m)^\*\*G(\d+)\. ", DOCUMENT)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    for number in numbers:
        until = DOCUMENT.partition(f"\n**G{number}. ")[2]
        own = re.split(r"\n(?=\*\*G\d|## )", until)[0]
        assert "*Tests:*" in own, f"G{number} names no tests"
    named = set(re.findall(r"`(tests/[\w/.]*)`", DOCUMENT))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_all_attack_classes_are_in_the_catalogue() -> None:
    def leaves(kind: type[Attack]) -> set[type[Attack]]:
        found = {one for below in kind.__subclasses__() for one in leaves(below)}
        return found | ({kind} if "__doc__" in vars(kind) and hasattr(kind, "checks") else set())

    complete = {one for one in leaves(Attack) if hasattr(one, "says")}
    assert complete == set(ATTACKS)
    names = [kind.__name__ for kind in NAMED_IN_THE_DOCUMENT]
    assert len(set(names)) == len(names)


def test_every_error_about_the_other_side_is_shown_by_an_attack() -> None:
    def below(kind: type[errors.SoledadError]) -> set[type[errors.SoledadError]]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    theirs = below(errors.ProviderLies) | below(errors.BadReply) | {errors.TooSlow}
    assert theirs - {kind.expected for kind in ATTACKS} == {errors.ProviderLies}


def test_every_lie_has_a_sentence_that_says_what_to_do() -> None:
    for kind in {one.expected for one in ATTACKS}:
        if issubclass(kind, errors.ProviderLies):
            assert kind.advice
            assert not kind.advice.endswith(".")
