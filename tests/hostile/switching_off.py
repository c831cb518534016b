"""Switching one check of the client off, to show that this check and no other one meets an attack.

A check is named by module and function. Its code is exchanged in place, so that every module which imported the
function runs without the check. What is named but not there any more is an error: tests follow the code.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Check(Protocol):
    """One check of the client. `name` says where it stands."""

    @property
    def name(self) -> str: ...

    def off(self) -> Any:
        """A context in which the client does not make this check."""


@dataclass(frozen=True)
class Raise:
    """A `raise` in a function, found by words of its sentence: it becomes `pass`, and the function goes on."""

    module: str
    function: str
    words: str

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}: {self.words!r}"

    def off(self) -> Any:
        return _exchanged(self.module, self.function, _WithoutRaise(self.words))


@dataclass(frozen=True)
class Whole:
    """A function that does nothing but check: it answers None at once."""

    module: str
    function: str

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}"

    def off(self) -> Any:
        return _exchanged(self.module, self.function, _Emptied())


@dataclass(frozen=True)
class Text:
    """A condition, a constant or an argument inside a function: `old`, as Python writes it, becomes `new`."""

    module: str
    function: str
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}: {self.old}"

    def off(self) -> Any:
        return _exchanged(self.module, self.function, _Rewritten(self.old, self.new))


@dataclass(frozen=True)
class Argument:
    """An argument which a function passes on by name: it has the value `new` instead."""

    module: str
    function: str
    argument: str
    new: Any

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}: {self.argument}="

    def off(self) -> Any:
        return _exchanged(self.module, self.function, _OtherArgument(self.argument, self.new))


@dataclass(frozen=True)
class Instead:
    """Something of a module for which another thing stands while the check is off."""

    module: str
    attribute: str
    other: Any

    @property
    def name(self) -> str:
        return f"{self.module}.{self.attribute}"

    @contextmanager
    def off(self) -> Iterator[None]:
        module = importlib.import_module(self.module)
        before = getattr(module, self.attribute)
        setattr(module, self.attribute, self.other)
        try:
            yield
        finally:
            setattr(module, self.attribute, before)


@contextmanager
def switched_off(checks: tuple[Check, ...]) -> Iterator[None]:
    """All of these off."""
    with ExitStack() as stack:
        for check in checks:
            stack.enter_context(check.off())
        yield


class TagIgnored:
    """AES-256-GCM whose tag nobody looks at: the counter mode inside it, and encryption as it is."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._key, self._whole = key, AESGCM(key)

    def encrypt(self, nonce: bytes, data: Any, associated: Any) -> bytes:
        return self._whole.encrypt(nonce, data, associated)

    def decrypt(self, nonce: bytes, data: Any, _associated: Any) -> bytes:
        first = nonce + (2).to_bytes(
            4, "big"
        )  # the tag takes the first block (NIST SP 800-38D 7.1)
        counter = Cipher(algorithms.AES(self._key), modes.CTR(first)).decryptor()
        return counter.update(bytes(data)[:-16]) + counter.finalize()


# -- exchanging code --------------------------------------------------------------------------------

_changed: dict[str, ast.Module] = {}  # modules of which some check is off, as they read now


class _WithoutRaise(ast.NodeTransformer):
    def __init__(self, words: str) -> None:
        self.words = words
        self.done = 0

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if self.words not in _sentence(node):
            return node
        self.done += 1
        return ast.copy_location(ast.Pass(), node)


class _Emptied(ast.NodeTransformer):
    done = 0

    def __call__(self, function: Any) -> None:
        function.body = [ast.copy_location(ast.Return(value=None), function.body[0])]
        self.done += 1


class _Rewritten(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old = ast.unparse(ast.parse(old, mode="eval"))
        self.new = ast.parse(new, mode="eval").body
        self.done = 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and ast.unparse(node) == self.old:
            self.done += 1
            return ast.copy_location(self.new, node)
        return super().visit(node)


class _OtherArgument(ast.NodeTransformer):
    def __init__(self, argument: str, new: Any) -> None:
        self.argument = argument
        self.new = new
        self.done = 0

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg == self.argument:
            self.done += 1
            node.value = ast.copy_location(ast.Constant(self.new), node.value)
        return node


def _sentence(node: ast.Raise) -> str:
    """The literal words of what is raised; what is filled in counts as nothing."""
    if node.exc is None:
        return ""
    return "".join(
        part.value
        for part in ast.walk(node.exc)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


@contextmanager
def _exchanged(module_name: str, path: str, change: Any) -> Iterator[None]:
    module = importlib.import_module(module_name)
    function: Any = module
    for part in path.split("."):
        function = inspect.getattr_static(function, part)
    function = inspect.unwrap(getattr(function, "__func__", function))
    assert isinstance(function, types.FunctionType), f"{module_name}.{path} is no function"
    earlier = _changed.get(module_name)  # several checks of one module may be off at once
    tree = copy.deepcopy(earlier) if earlier else ast.parse(inspect.getsource(module))
    node: Any = tree
    for part in path.split("."):
        node = next(one for one in node.body if getattr(one, "name", None) == part)
    if isinstance(change, _Emptied):
        change(node)
    else:
        change.generic_visit(node)
    assert change.done == 1, f"{module_name}.{path} has {change.done} such checks, not one"
    ast.fix_missing_locations(tree)
    code = _find(compile(tree, module.__file__ or "?", "exec"), path)
    before = function.__code__
    assert code.co_freevars == before.co_freevars, f"{module_name}.{path} needs its closure"
    function.__code__ = code
    _changed[module_name] = tree
    try:
        yield
    finally:
        function.__code__ = before
        if earlier:
            _changed[module_name] = earlier
        else:
            del _changed[module_name]


def _find(code: types.CodeType, path: str) -> types.CodeType:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            if one.co_qualname == path:
                return one
            if path.startswith(one.co_qualname + "."):
                return _find(one, path)
    raise LookupError(path)
