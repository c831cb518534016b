"""What an account says of threads, in values that travel."""

from __future__ import annotations

from typing import NewType

import msgspec

ThreadId = NewType("ThreadId", str)  # 16 hex digits; docs/threads.md says what may change it


class ThreadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A thread as a list of threads shows it. `messages` and `unseen` count each message once, however many copies
    there are; one is seen when one of its copies is."""

    thread_id: ThreadId
    subject: str  # of its oldest message
    messages: int
    unseen: int
    newest: int  # when its newest message arrived, seconds since 1970
    participants: tuple[str, ...]  # who wrote in it, by name or address, in the order they came in
