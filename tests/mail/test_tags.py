"""A tag becomes a keyword that mail programs show as the same tag, and comes back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import NotPermitted
from leap.mail.flags import checked_flags
from leap.mail.tags import keyword_of, tag_of, tags_of


@pytest.mark.parametrize(
    ("tag", "keyword"),
    [
        ("work", "work"),
        ("zu erledigen", "zu_erledigen"),
        ("Größe", "Gr&APYA3w-e"),
        ("R&D", "R&ACY-D"),
        ("a_b", "a&AF8-b"),
        ("50%", "50&ACU-"),
        ("$5", "&ACQ-5"),
        ("Junk", "&AEo-unk"),
        ("日本", "&ZeVnLA-"),
    ],
)
def test_a_tag_is_written_as_thunderbird_would(tag: str, keyword: str) -> None:
    assert keyword_of(tag) == keyword
    assert tag_of(keyword) == tag
    assert checked_flags([keyword]) == {keyword}


@pytest.mark.parametrize("flag", ["\\Seen", "$Forwarded", "$label1", "NonJunk", "junk", ""])
def test_what_programs_mark_is_no_tag(flag: str) -> None:
    assert tag_of(flag) is None


@pytest.mark.parametrize("keyword", ["&", "&-", "&AA-", "a&b", "&!!-", "&2AA-", "x&AAo-"])
def test_keywords_that_are_not_so_written_are_read_as_they_stand(keyword: str) -> None:
    assert tag_of(keyword) == ("&" if keyword == "&-" else keyword)


@pytest.mark.parametrize("tag", ["", "  ", "two\nlines", "\x00", "x" * 256, "ä" * 130, "\ud800"])
def test_what_can_be_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(NotPermitted):
        keyword_of(tag)


def test_tags_of_a_message_are_its_keywords_sorted() -> None:
    assert tags_of(["b", "\\Seen", "zu_erledigen", "$Junk", "a"]) == ("a", "b", "zu erledigen")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20))
def test_every_tag_comes_back(tag: str) -> None:
    try:
        keyword = keyword_of(tag)
    except NotPermitted:
        return
    assert checked_flags([keyword]) == {keyword}
    if tag.isprintable():
        assert tag_of(keyword) == tag.strip()
