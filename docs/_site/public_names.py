"""The reference lists names by itself: a block of docs/reference as

    ```{names-of}
    leap.mail.answers
    leap.mail.message.dates: Instant
    ```

becomes one section for each name that the modules offer, so that a new one cannot be forgotten.

A package offers what its `__all__` says, a module what it defines under a name without "_"; but for what a package
above it offers already. Behind a colon stand names, if only those are wanted. Classes of a package show what they
inherit, since the parts they are made of are nobody's business; others name what they are made of.
"""

from __future__ import annotations

import re
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_BLOCK = re.compile(r"^```\{names-of\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INHERITED = "   :inherited-members: object, Struct, tuple, ABC, Protocol, Generic"
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if not docname.startswith("reference/"):
        return
    text = source[0]

    def filled(match: re.Match[str]) -> str:
        marks = _HEADING.findall(text, 0, match.start())[-1] + "#"
        lines = (line.partition(": ") for line in match[1].splitlines())
        return "\n".join(entries(path, some, marks) for path, _, some in lines)

    source[0] = _BLOCK.sub(filled, text)


def entries(path: str, some: str, marks: str) -> str:
    """The sections for a module and all it offers, or for some of its names; `marks` begin a heading."""
    module = import_module(path)
    out = [_rst(f".. automodule:: {path}\n   :no-members:")]
    for name in some.split(", ") if some else offered(module):
        value = getattr(module, name)
        if isinstance(value, type):
            kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        else:
            kind = "autofunction" if hasattr(value, "__code__") else "autodata"
        facade = kind == "autoclass" and hasattr(module, "__path__")
        option = f"\n{_INHERITED if facade else '   :show-inheritance:'}" * isinstance(value, type)
        out += [f"{marks} {name}", _rst(f".. {kind}:: {path}.{name}{option}")]
    return "\n\n".join(out) + "\n"


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```"


def offered(module: ModuleType) -> list[str]:
    """The names a module offers, in the order of its source."""
    taken = _offered_above(module.__name__)
    if hasattr(module, "__path__"):
        names = getattr(module, "__all__", ())
        return [name for name in names if id(getattr(module, name)) not in taken]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and id(value) not in taken
    ]


def _offered_above(path: str) -> set[int]:
    found: set[int] = set()
    while "." in path:
        path = path.rpartition(".")[0]
        package = import_module(path)
        found |= {id(getattr(package, name)) for name in getattr(package, "__all__", ())}
    return found
