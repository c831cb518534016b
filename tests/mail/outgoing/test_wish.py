"""What one message asks for: header fields and tags in the subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.message.words import decode_words
from leap.mail.outgoing.field_lines import join_fields, split_fields, values_of
from leap.mail.outgoing.wish import (
    EncryptWish,
    Wish,
    take_subject_tag,
    wish_named,
    wish_of,
    with_subject_tag,
)


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (b"", Wish()),
        (b"X-Leap-Encrypt: require\r\n", Wish("require")),
        (b"x-leap-encrypt:  NEVER \r\n", Wish("never")),
        (b"X-Leap-Encrypt: split\r\n", Wish("split")),
        (b"X-Leap-Encrypt: never\r\nX-Leap-Encrypt: require\r\n", Wish("require")),
        (b"X-Leap-Encrypt: never\r\nX-Leap-Encrypt: split\r\n", Wish("split")),
        (b"X-Leap-Sign: yes\r\n", Wish("", True)),
        (b"X-Leap-Sign: no\r\nX-Leap-Encrypt: never\r\n", Wish("never", False)),
        (b"X-Leap-Sign: no\r\nX-Leap-Sign: yes\r\n", Wish("", False)),
        (b"X-Leap-Encrypt:\r\nX-Leap-Sign: \r\n", Wish()),
    ],
)
def test_of_contradicting_fields_the_one_that_shows_least_counts(header: bytes, wish: Wish) -> None:
    assert wish_of(split_fields(header)) == wish


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (b"X-Leap-Encrypt: required\r\n", "require, split or never"),
        (b"X-Leap-Encrypt: yes\r\n", "require, split or never"),
        (b"X-Leap-Encrypt: \xff\r\n", "require, split or never"),
        (b"X-Leap-Encrypt: never\r\nX-Leap-Encrypt: alwais\r\n", "require, split or never"),
        (b"X-Leap-Sign: true\r\n", "yes or no"),
    ],
)
def test_a_word_that_is_not_known_is_a_problem_and_not_silence(header: bytes, word: str) -> None:
    assert wish_of(split_fields(header)).problem.endswith(f"can say {word}.")


@pytest.mark.parametrize(
    ("header", "wish", "is_doubtful"),
    [
        (b"Subject: Re: The plan [clear]\r\n", "never", True),
        (b"Subject: Re: [clear] The plan\r\n", "never", True),
        (b"Subject: Re[2]: The plan [split]\r\n", "split", True),
        (b"Subject: Odp: The plan [clear]\r\n", "never", True),
        (b"Subject: =?utf-8?q?R=C3=A9=3A_plan_=5Bclear=5D?=\r\n", "never", True),
        (b"Subject: The plan [clear]\r\nIn-Reply-To: <a@x>\r\n", "never", True),
        (b"Subject: The plan [clear]\r\nReferences: <a@x>\r\n", "never", True),
        (b"Subject: [clear] Re: The plan\r\nIn-Reply-To: <a@x>\r\n", "never", False),
        (b"Subject: The plan [clear]\r\n", "never", False),
        (b"Subject: Re: The plan [encrypt]\r\n", "require", False),
        (b"Subject: [encrypt] Re: The plan [clear]\r\n", "require", False),
        (b"Subject: Re: The plan\r\n", "", False),
    ],
)
def test_a_tag_that_an_answered_mail_may_have_brought_loosens_nothing(
    header: bytes, wish: str, is_doubtful: bool
) -> None:
    _, found = with_subject_tag(split_fields(header), Wish())
    assert found.encrypt == wish
    assert bool(found.problem) == is_doubtful


@pytest.mark.parametrize("encrypt", ["", "require", "split", "never"])
@pytest.mark.parametrize("sign", [None, True, False])
def test_the_outbox_keeps_a_wish(encrypt: EncryptWish, sign: bool | None) -> None:
    wish = Wish(encrypt, sign)
    assert wish_named(wish.text) == wish


def test_words_that_an_earlier_version_kept_are_read() -> None:
    assert wish_named(" Never ") == Wish("never")
    assert wish_named("please") == Wish()


@pytest.mark.parametrize(
    ("subject", "left", "wish"),
    [
        (b" [encrypt] The plan\r\n", b" The plan\r\n", "require"),
        (b" The plan [clear]\r\n", b" The plan\r\n", "never"),
        (b" Re: [Encrypt] The plan\r\n", b" Re: The plan\r\n", "require"),
        (b" [split]The plan\r\n", b" The plan\r\n", "split"),
        (b" [encrypt]\r\n", b" \r\n", "require"),
        (b" [clear] The plan [encrypt]\r\n", b" The plan\r\n", "require"),
        (b" [encrypt]\r\n The plan\r\n", b" The plan\r\n", "require"),
        (b" The [encrypt] plan\r\n", b" The [encrypt] plan\r\n", ""),
        (b" [encrypted] plan\r\n", b" [encrypted] plan\r\n", ""),
        (b" plan\xff [clear]\r\n", b" plan\xff\r\n", "never"),
        (b"\r\n", b"\r\n", ""),
    ],
)
def test_a_tag_is_taken_off_the_subject(subject: bytes, left: bytes, wish: str) -> None:
    header = b"From: a@x\r\nSubject:" + subject + b"To: b@x\r\n"
    fields, found = take_subject_tag(split_fields(header))
    assert found == wish
    assert join_fields(fields) == b"From: a@x\r\nSubject:" + left + b"To: b@x\r\n"


def test_a_tag_inside_an_encoded_word_is_found_and_the_rest_is_written_anew() -> None:
    header = b"Subject: =?utf-8?q?=5Bencrypt=5D_Gr=C3=BC=C3=9Fe?= =?utf-8?q?_an_alle?=\r\n"
    fields, found = take_subject_tag(split_fields(header))
    assert found == "require"
    (value,) = values_of(fields, "subject")
    assert value.isascii()
    assert decode_words(value) == "Grüße an alle"


def test_an_encoded_tag_cannot_begin_another_field() -> None:
    header = b"Subject: =?utf-8?q?=5Bclear=5D_a=0D=0ABcc:_x=40y?=\r\n"
    fields, _ = take_subject_tag(split_fields(header))
    assert [field.name for field in split_fields(join_fields(fields))] == ["subject"]


def test_two_subjects_have_no_tag() -> None:
    header = b"Subject: [clear] a\r\nSubject: [clear] b\r\n"
    fields, found = take_subject_tag(split_fields(header))
    assert (join_fields(fields), found) == (header, "")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b" [clear]", b" [encrypt] ", b"=?utf-8?q?=5Bclear=5D?="]),
)
def test_any_subject_is_read_without_an_error_and_makes_no_other_fields(
    octets: bytes, tag: bytes
) -> None:
    line = octets.replace(b"\r", b"").replace(b"\n", b"")
    header = b"Subject:" + tag + line + b"\r\nTo: b@x\r\n"
    fields = split_fields(header)
    kept, found = take_subject_tag(fields)
    if not found:
        assert join_fields(kept) == header
    names = [field.name for field in split_fields(join_fields(kept))]
    assert names == [field.name for field in fields]
