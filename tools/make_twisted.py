#!/usr/bin/env python3
"""Writes modules of src/leap/mail/twisted: the classes of leap.mail whose methods are coroutines, with Deferreds.

It reads the sources, so names, arguments, defaults and docstrings are those of the asyncio API. It begins at `Account`
and goes on to every class that a public method gives back and that has coroutines itself. Run it after a change of the
public API; tests/twisted/test_mirror.py compares.
"""

from __future__ import annotations

import ast
import builtins
import copy
import importlib
import inspect
import re
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "src" / "leap" / "mail" / "twisted"
MADE = "made of `leap.mail` by tools/make_twisted.py"
BEGIN = ("leap.mail.account", "Account")
LEFT_OUT = {"backend"}  # it is asyncio's; `twin.asyncio.backend` reaches it
ITERATORS = {"AsyncIterator", "AsyncIterable", "AsyncGenerator"}
LISTS = {"list", "Sequence", "Iterable", "Collection"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Untranslatable(Exception):
    """The public API has a shape this program does not know."""


@dataclass
class Module:
    """A source file, and where its names are from."""

    name: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)  # name -> the line that imports it


@cache
def load_module(name: str) -> Module:
    loaded = importlib.import_module(name)
    module = Module(name, ast.parse(Path(inspect.getfile(loaded)).read_text()))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                renamed = f" as {alias.asname}" if alias.asname else ""
                line = f"from {node.module} import {alias.name}{renamed}"
                module.imports[alias.asname or alias.name] = line
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = ast.unparse(ast.Import([alias]))
    for node in module.tree.body:
        names: list[str] = []
        if isinstance(node, ast.ClassDef | Function):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [one.id for one in node.targets if isinstance(one, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        module.imports |= {one: f"from {name} import {one}" for one in names}
    return module


@dataclass
class Member:
    """A public method, property or attribute."""

    name: str
    module: Module
    node: Function | None  # None: an attribute
    annotation: ast.expr | None
    kind: str  # coroutine, stream, plain, class, property, attribute


@dataclass
class Mirrored:
    """One class of the asyncio API."""

    name: str
    module: Module
    node: ast.ClassDef
    members: dict[str, Member]


@cache
def load_class(module_name: str, name: str) -> Mirrored:
    """The class with all it inherits from classes of leap."""
    real = getattr(importlib.import_module(module_name), name)
    members: dict[str, Member] = {}
    for one in real.__mro__:
        if not one.__module__.startswith("leap."):
            continue
        module = load_module(one.__module__)
        for node in find_class(module, one.__name__).body:
            for member in members_of(node, module):
                members.setdefault(member.name, member)
    module = load_module(real.__module__)
    return Mirrored(real.__name__, module, find_class(module, real.__name__), members)


def find_class(module: Module, name: str) -> ast.ClassDef:
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise Untranslatable(f"{module.name} has no class {name}")


def members_of(node: ast.stmt, module: Module) -> list[Member]:
    if isinstance(node, Function):
        if node.name == "__init__":
            return attributes_of(node, module)
        if node.name.startswith("_") and node.name != "__aiter__":
            return []
        return [Member(node.name, module, node, node.returns, kind_of(node))]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        name = node.target.id
        return [] if skipped(name) else [Member(name, module, None, node.annotation, "attribute")]
    return []


def kind_of(node: Function) -> str:
    decorators = {ast.unparse(one).rsplit(".", 1)[-1] for one in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        return "property"
    if other := decorators - {"classmethod"}:
        raise Untranslatable(f"{node.name} has the decorators {sorted(other)}")
    if isinstance(node.returns, ast.Subscript) and name_of(node.returns.value) in ITERATORS:
        yields = any(isinstance(one, ast.Yield) for one in ast.walk(node))
        if isinstance(node, ast.FunctionDef) or yields:
            return "stream"
    if isinstance(node, ast.AsyncFunctionDef):
        return "coroutine"
    return "class" if "classmethod" in decorators else "plain"


def attributes_of(init: Function, module: Module) -> list[Member]:
    """What `__init__` sets, with the type it says or that of the argument it is."""
    arguments = {arg.arg: arg.annotation for arg in [*init.args.args, *init.args.kwonlyargs]}
    found = []
    for node in ast.walk(init):
        annotation: ast.expr | None = None
        if isinstance(node, ast.AnnAssign):
            target, annotation = node.target, node.annotation
        elif isinstance(node, ast.Assign):
            target, annotation = node.targets[0], type_of(node.value, arguments)
        else:
            continue
        if isinstance(target, ast.Attribute) and name_of(target.value) == "self":
            if skipped(target.attr):
                continue
            if annotation is None:
                raise Untranslatable(f"self.{target.attr} in {module.name} needs an annotation")
            found.append(Member(target.attr, module, None, annotation, "attribute"))
    return found


def type_of(value: ast.expr, arguments: dict[str, ast.expr | None]) -> ast.expr | None:
    """The type of an argument, of a copy of it as a list or tuple, or of it and something in its place."""
    if isinstance(value, ast.BoolOp):
        value = value.values[0]
    if isinstance(value, ast.Name):
        return arguments.get(value.id)
    if isinstance(value, ast.Call) and name_of(value.func) in ("list", "tuple"):
        given = type_of(value.args[0], arguments)
        if isinstance(given, ast.Subscript):
            item = ast.unparse(given.slice)
            kind = name_of(value.func)
            return ast.parse(
                f"list[{item}]" if kind == "list" else f"tuple[{item}, ...]", mode="eval"
            ).body
    return None


def skipped(name: str) -> bool:
    return name.startswith("_") or name in LEFT_OUT


def name_of(node: ast.expr | None) -> str:
    return node.id if isinstance(node, ast.Name) else ""


class Writer:
    """Collects the classes to write, and what they import."""

    def __init__(self) -> None:
        self.classes: dict[str, Mirrored] = {}
        self.imports: set[str] = set()  # of the class being written
        self.used: set[str] = set()  # other twins that it mentions
        self._follow(load_class(*BEGIN))

    def _follow(self, found: Mirrored) -> None:
        if found.name in self.classes:
            return
        self.classes[found.name] = found
        for member in found.members.values():
            for node in ast.walk(member.annotation) if member.annotation else []:
                line = (
                    member.module.imports.get(name_of(node)) if isinstance(node, ast.Name) else ""
                )
                words = (line or "").split()  # from MODULE import NAME [as NAME]
                if words[:1] != ["from"] or words[3] != words[-1]:
                    continue
                other = getattr(importlib.import_module(words[1]), words[3], None)
                if is_asynchronous(other):
                    self._follow(load_class(other.__module__, other.__name__))

    # -- types

    def type(self, annotation: ast.expr | None, module: Module) -> str:
        """The annotation as it stands in the written module; its names are imported."""
        if annotation is None:
            raise Untranslatable(f"an annotation is missing in {module.name}")
        changed = copy.deepcopy(annotation)
        for node in ast.walk(changed):
            if isinstance(node, ast.Subscript) and name_of(node.value) in ITERATORS:
                node.slice = stream_item(node)  # what is sent into a generator is nothing
            if isinstance(node, ast.Name):
                self._import(node, module)
        return ast.unparse(changed)

    def _import(self, node: ast.Name, module: Module) -> None:
        if node.id in self.classes:
            self.used.add(node.id)
            return
        if hasattr(builtins, node.id):
            return
        if node.id in ITERATORS:
            node.id = "Stream"
            return
        if node.id not in module.imports:
            raise Untranslatable(f"nobody knows where {node.id} in {module.name} is from")
        self.imports.add(module.imports[node.id])

    def _holds_mirrored(self, annotation: ast.expr) -> bool:
        nodes = [one for one in ast.walk(annotation) if isinstance(one, ast.Name)]
        return any(node.id in self.classes or node.id in ITERATORS for node in nodes)

    def wrapping(self, annotation: ast.expr, own: str) -> str | None:
        """The function that makes the twin of a result; None where there is nothing to do."""
        name = name_of(annotation)
        if name == "Self":
            return own
        if name in self.classes:
            self.used.add(name)
            return name
        if not self._holds_mirrored(annotation):
            return None
        if isinstance(annotation, ast.BinOp) and ast.unparse(annotation.right) == "None":
            return f"optional({self.wrapping(annotation.left, own)})"
        if isinstance(annotation, ast.Subscript):
            outer, inner = name_of(annotation.value), annotation.slice
            if outer in LISTS:
                return f"listed({self.wrapping(inner, own)})"
            if isinstance(inner, ast.Tuple):
                first, second = inner.elts[0], inner.elts[-1]
                if outer == "tuple" and ast.unparse(second) == "...":
                    return f"tupled({self.wrapping(first, own)})"
                if outer in ("dict", "Mapping") and not self._holds_mirrored(first):
                    return f"valued({self.wrapping(second, own)})"
        raise Untranslatable(f"no twin can be made of {ast.unparse(annotation)}")

    def unwrapping(self, argument: str, annotation: ast.expr | None) -> str:
        """An argument as the asyncio API wants it."""
        if annotation is None or not self._holds_mirrored(annotation):
            return argument
        if name_of(annotation) in self.classes:
            return f"{argument}.asyncio"
        if isinstance(annotation, ast.BinOp):
            parts = [annotation.left, annotation.right]
            ours = [part for part in parts if self._holds_mirrored(part)]
            if len(ours) == 1 and name_of(ours[0]) in self.classes:
                twin = name_of(ours[0])
                return f"{argument}.asyncio if isinstance({argument}, {twin}) else {argument}"
        if isinstance(annotation, ast.Subscript) and name_of(annotation.value) in LISTS:
            items = annotation.slice
            if name_of(items) in self.classes:
                return f"[one.asyncio for one in {argument}]"
        raise Untranslatable(f"an argument of type {ast.unparse(annotation)} is not known")

    # -- members

    def write_class(self, mirrored: Mirrored) -> str:
        name = mirrored.name
        closing = mirrored.members.get("close")
        base = "ClosingTwin" if closing and closing.kind == "coroutine" else "Twin"
        self.imports.add(f"from {mirrored.module.name} import {name} as Async{name}")
        summary = (ast.get_docstring(mirrored.node) or f"{name}.").split(".")[0].replace("\n", " ")
        text = f"{summary}. With Deferreds; `{name}(that)` is made of one of `leap.mail`."
        text = "\n    ".join(textwrap.wrap(text, 110))
        parts = [f'class {name}({base}[Async{name}]):\n    """{text}"""\n']
        parts += [self.write_member(mirrored, one) for one in mirrored.members.values()]
        return "\n\n".join(parts)

    def write_member(self, mirrored: Mirrored, member: Member) -> str:
        made = self.type(member.annotation, member.module)
        assert member.annotation is not None
        if member.kind in ("attribute", "property"):
            wrap = self.wrapping(member.annotation, "type(self)")
            got = f"self.asyncio.{member.name}"
            text = docstring(member.node, "        ") if member.node else ""
            value = f"{wrap}({got})" if wrap else got
            lines = f"    @property\n    def {member.name}(self) -> {made}:\n{text}        return {value}"
            if member.kind == "attribute":
                name, given = member.name, self.unwrapping("value", member.annotation)
                lines += f"\n\n    @{name}.setter\n    def {name}(self, value: {made}) -> None:\n"
                lines += f"        {got} = {given}"
            return lines
        assert member.node is not None
        if member.name == "__aiter__":
            return self.write_iteration(member, made)
        return self.write_method(mirrored, member, member.node, made)

    def write_method(self, mirrored: Mirrored, member: Member, node: Function, made: str) -> str:
        of_class = any(ast.unparse(one) == "classmethod" for one in node.decorator_list)
        own, called = (
            ("cls", f"Async{mirrored.name}") if of_class else ("type(self)", "self.asyncio")
        )
        arguments, passed = self.signature(node, member.module)
        call = f"{called}.{member.name}({passed})"
        returns = member.annotation
        assert returns is not None
        if member.kind == "stream":
            assert isinstance(returns, ast.Subscript)
            wrap = self.wrapping(stream_item(returns), own) or "same"
            value = f"Stream({wrap}, {call})"
        elif member.kind == "coroutine":
            wrap, made = self.wrapping(returns, own), f"Deferred[{made}]"
            value = f"run_as({wrap}, {call})" if wrap else f"run({call})"
            if member.name == "close":
                value = f"self._closing({call})"
        else:
            wrap = self.wrapping(returns, own)
            value = f"{wrap}({call})" if wrap else call
        decorator = "    @classmethod\n" if of_class else ""
        text = docstring(node, "        ")
        return f"{decorator}    def {member.name}({arguments}) -> {made}:\n{text}        return {value}"

    def write_iteration(self, member: Member, made: str) -> str:
        assert isinstance(member.annotation, ast.Subscript)
        item = stream_item(member.annotation)
        wrap = self.wrapping(item, "type(self)") or "same"
        assert member.node is not None
        self.imports.add("from collections.abc import Callable")
        return (
            f"    def __aiter__(self) -> {made}:\n{docstring(member.node, '        ')}"
            f"        return Stream({wrap}, aiter(self.asyncio))\n\n"
            f"    def each(self, callback: Callable[[{ast.unparse(item)}], object]) -> Deferred[None]:\n"
            f'        """Calls back with one after another; see `Stream.each`."""\n'
            f"        return aiter(self).each(callback)"
        )

    def signature(self, node: Function, module: Module) -> tuple[str, str]:
        """The arguments as they are declared, and as they are passed on."""
        arguments = copy.deepcopy(node.args)
        passed = []
        positional = [*arguments.posonlyargs, *arguments.args][1:]
        for arg in [*positional, *arguments.kwonlyargs]:
            value = self.unwrapping(arg.arg, arg.annotation)
            passed.append(value if arg in positional else f"{arg.arg}={value}")
        if arguments.vararg:
            rest = arguments.vararg
            value = rest.arg
            if rest.annotation and self._holds_mirrored(rest.annotation):
                value = f"[one.asyncio for one in {rest.arg}]"
            passed.insert(len(positional), f"*{value}")
        if arguments.kwarg:
            passed.append(f"**{arguments.kwarg.arg}")
        for inner in ast.walk(arguments):
            if isinstance(inner, ast.Name):
                if inner.id in ITERATORS:
                    raise Untranslatable(f"{node.name} takes an async iterator")
                self._import(inner, module)
        return ast.unparse(arguments), ", ".join(passed)

    def write(self) -> dict[str, str]:
        """The texts of all modules, by file name."""
        written: dict[str, tuple[str, set[str], set[str]]] = {}
        for name, one in self.classes.items():
            self.imports, self.used = set(COMMON), set()
            body = self.write_class(one)
            written[name] = (body, self.imports, self.used - {name})
        return {f"{module_of(name)}.py": self._module(name, written) for name in written}

    def _module(self, name: str, written: dict[str, tuple[str, set[str], set[str]]]) -> str:
        body, imports, used = written[name]

        def reaches(start: str, seen: set[str]) -> bool:
            return start == name or any(
                reaches(one, seen | {one}) for one in written[start][2] if one not in seen
            )

        late = {one for one in used if reaches(one, {one})}  # each needs the other
        imports = imports | {import_of(one) for one in used - late}
        head = f'"""`{name}` with Deferreds: {MADE}."""\n\nfrom __future__ import annotations\n\n'
        tail = "".join(f"\n{import_of(one)}  # noqa: E402" for one in sorted(late))
        return head + "\n".join(sorted(imports)) + "\n\n\n" + body + "\n" + tail + "\n"


COMMON = {
    "from twisted.internet.defer import Deferred",
    "from leap.mail.twisted.bridge import run, run_as",
    "from leap.mail.twisted.stream import Stream, same",
    "from leap.mail.twisted.twin import ClosingTwin, Twin, listed, optional, tupled, valued",
}


def module_of(name: str) -> str:
    """MessagePart is in message_part."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def import_of(name: str) -> str:
    return f"from leap.mail.twisted.{module_of(name)} import {name}"


def is_asynchronous(one: Any) -> bool:
    """Whether it is a class of leap.mail with public methods that are coroutines or async generators."""
    return (
        inspect.isclass(one)
        and one.__module__.startswith("leap.mail.")
        and any(
            inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
            for name, member in inspect.getmembers(one)
            if not name.startswith("_")
        )
    )


def stream_item(annotation: ast.Subscript) -> ast.expr:
    inner = annotation.slice
    return inner.elts[0] if isinstance(inner, ast.Tuple) else inner


def docstring(node: Any, indent: str) -> str:
    text = ast.get_docstring(node)
    if text is None:
        return ""
    lines = [f"{indent}{line}".rstrip() for line in text.splitlines()]
    quoted = "\n".join(lines).strip().replace("\\", "\\\\")
    end = f"\n{indent}" if len(lines) > 1 else ""
    return f'{indent}"""{quoted}{end}"""\n'


def render() -> dict[str, str]:
    """The modules as they have to be, in the project's format, by file name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in Writer().write().items():
            (folder / file).write_text(text)
        for step in (["check", "--fix", "--select", "I,F401"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *step, "--quiet", "--no-cache"]
            config = ["--config", str(ROOT / "pyproject.toml")]
            subprocess.run([*ruff, *config, name], check=True, cwd=ROOT)
        return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def present() -> dict[str, str]:
    """The modules as they are."""
    texts = {path.name: path.read_text() for path in FOLDER.glob("*.py")}
    return {name: text for name, text in texts.items() if MADE in text.split("\n")[0]}


def main() -> int:
    sys.path[:0] = [str(ROOT / "src")]
    wanted = render()
    for name in present().keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
        print(f"{text.count(chr(10)):4} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
