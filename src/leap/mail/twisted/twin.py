"""What the objects of this package share: each stands for one of `leap.mail`, its twin."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

from twisted.internet.defer import Deferred, succeed

from leap.mail.twisted.bridge import find_bridge, run

A = TypeVar("A")
K = TypeVar("K")
R = TypeVar("R")


class Twin(Generic[A]):
    """An object whose methods give Deferreds. Two that stand for one object are equal."""

    def __init__(self, twin: A) -> None:
        self.asyncio = twin  # the object of leap.mail

    def __repr__(self) -> str:
        return repr(self.asyncio)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.asyncio == other.asyncio

    def __hash__(self) -> int:
        return hash(self.asyncio)


class ClosingTwin(Twin[A]):
    """One that has to be closed; it is before the reactor stops, if nobody did."""

    def __init__(self, twin: A) -> None:
        super().__init__(twin)
        close: Callable[[], Coroutine[Any, Any, object]] = twin.close  # type: ignore[attr-defined]
        find_bridge().keep_open(twin, close)

    def _closing(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        find_bridge().forget_open(self.asyncio)
        return run(coroutine)

    def close(self) -> Deferred[None]:
        raise NotImplementedError

    def __aenter__(self) -> Deferred[Self]:
        return succeed(self)

    def __aexit__(self, *_: object) -> Deferred[None]:
        return self.close()


def optional(wrap: Callable[[A], R]) -> Callable[[A | None], R | None]:
    return lambda value: None if value is None else wrap(value)


def listed(wrap: Callable[[A], R]) -> Callable[[Iterable[A]], list[R]]:
    return lambda values: [wrap(value) for value in values]


def tupled(wrap: Callable[[A], R]) -> Callable[[Iterable[A]], tuple[R, ...]]:
    return lambda values: tuple(wrap(value) for value in values)


def valued(wrap: Callable[[A], R]) -> Callable[[Mapping[K, A]], dict[K, R]]:
    return lambda values: {key: wrap(value) for key, value in values.items()}
