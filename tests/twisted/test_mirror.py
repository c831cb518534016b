"""Every public method of `leap.mail` has its counterpart with Deferreds; none can be forgotten."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import leap.mail
import leap.mail.twisted as mirrored
from leap.mail.twisted.twin import Twin

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"backend"}  # asyncio's own; `twin.asyncio.backend` reaches it


def asynchronous(one: object) -> bool:
    """Whether a class of leap.mail has public methods that are coroutines or give iterators."""
    return inspect.isclass(one) and any(
        inspect.iscoroutinefunction(member) or gives_iterator(member)
        for name, member in inspect.getmembers(one, callable)
        if not name.startswith("_")
    )


def gives_iterator(member: Callable[..., object]) -> bool:
    said = str(getattr(member, "__annotations__", {}).get("return", ""))
    return said.startswith(("AsyncIterator[", "AsyncGenerator["))


PUBLIC = [one for name in leap.mail.__all__ if asynchronous(one := getattr(leap.mail, name))]


def public_names(one: type) -> list[str]:
    """Public members, and attributes that `__init__` sets."""
    names = {name for name in dir(one) if not name.startswith("_")} - LEFT_OUT
    return sorted(names)


def test_every_asynchronous_class_has_its_twin() -> None:
    assert PUBLIC
    for one in PUBLIC:
        assert one.__name__ in mirrored.__all__
        assert issubclass(getattr(mirrored, one.__name__), Twin)
    for name in mirrored.__all__:
        one = getattr(mirrored, name)
        if inspect.isclass(one) and issubclass(one, Twin):
            assert name in leap.mail.__all__, f"{name} is reached, but leap.mail does not export it"


@pytest.mark.parametrize("one", PUBLIC, ids=lambda one: one.__name__)
def test_every_member_has_its_counterpart_with_the_same_arguments(one: Any) -> None:
    twin = getattr(mirrored, one.__name__)
    for name in public_names(one):
        theirs, ours = getattr(one, name), getattr(twin, name, None)
        assert ours is not None, f"{one.__name__}.{name} has no counterpart"
        if not callable(theirs):
            assert isinstance(inspect.getattr_static(twin, name), property)
            continue
        wanted, made = inspect.signature(theirs), inspect.signature(ours)
        assert [(p.name, p.kind, p.default) for p in wanted.parameters.values()] == [
            (p.name, p.kind, p.default) for p in made.parameters.values()
        ], f"{one.__name__}.{name}"
        said = made.return_annotation
        if inspect.iscoroutinefunction(theirs):
            assert said.startswith("Deferred["), f"{one.__name__}.{name}"
        elif gives_iterator(theirs):
            assert said.startswith("Stream["), f"{one.__name__}.{name}"
        assert not inspect.iscoroutinefunction(ours)


@pytest.mark.parametrize("one", PUBLIC, ids=lambda one: one.__name__)
def test_no_type_of_asyncio_is_given_where_there_is_a_twin(one: Any) -> None:
    twin = getattr(mirrored, one.__name__)
    known = {**vars(sys.modules[twin.__module__])}
    for name, member in inspect.getmembers(twin, callable):
        annotation = getattr(member, "__annotations__", {}).get("return")
        if name.startswith("_") or annotation is None:
            continue
        for found in walk(eval(annotation, known)):
            assert found not in PUBLIC, f"{one.__name__}.{name} gives {found}"


def walk(annotation: Any) -> list[Any]:
    return [annotation, *(inner for one in get_args(annotation) for inner in walk(one))]


def test_the_module_is_what_the_tool_makes_of_the_present_api() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        tool = importlib.import_module("make_twisted")
    finally:
        sys.path.remove(str(ROOT / "tools"))
    assert tool.present() == tool.render(), "run tools/make_twisted.py"


def test_the_asyncio_library_never_imports_twisted() -> None:
    code = (
        "import sys, leap.mail, leap.mail.account, leap.mail.local, leap.mail.remote, leap.bitmask.daemon\n"
        "for name in leap.mail.__all__: getattr(leap.mail, name)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'twisted'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_twisted_it_is_said_what_to_install() -> None:
    code = "import sys; sys.modules['twisted.internet'] = None\nimport leap.mail.twisted"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith("install it with `pip install 'leap-mail[twisted]'`.")
