"""Which branches of a module a piece of code does not take, by the interpreter's own trace.

A branch is a jump of the compiled functions that depends on a value: both ways of each have to be taken. That is finer
than lines: `a and b` on one line has branches of its own. Comprehensions and loops count as well.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import CodeType, FrameType, ModuleType
from typing import Any

Branch = tuple[str, int, str]  # the function, the line, "jumps" or "goes on"


def untaken_branches(module: ModuleType, run: Callable[[], object]) -> list[Branch]:
    """Runs `run` and answers the branches of the module's functions which it did not take."""
    name = module.__file__
    assert name is not None
    taken: set[tuple[CodeType, int, int]] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != name:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            if frame in last:
                taken.add((frame.f_code, last[frame], frame.f_lasti))
            last[frame] = frame.f_lasti
        elif event == "return":
            last.pop(frame, None)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    found = []
    for code in _functions(module):
        for line, at, ways in _branches(code):
            for way, targets in ways.items():
                if not any((code, at, target) in taken for target in targets):
                    found.append((code.co_qualname, line, way))
    return found


def _functions(module: ModuleType) -> Iterator[CodeType]:
    """The code of everything that runs when the module's functions are called, not of the module itself."""
    assert module.__file__ is not None
    pending = [
        value.__code__ if hasattr(value, "__code__") else value for value in _callables(module)
    ]
    seen = set()
    while pending:
        code = pending.pop()
        if code in seen or code.co_filename != module.__file__:
            continue
        seen.add(code)
        yield code
        pending += [const for const in code.co_consts if isinstance(const, CodeType)]


def _callables(module: ModuleType) -> Iterator[Any]:
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            for member in vars(value).values():
                function = member.fget if isinstance(member, property) else member
                if hasattr(function, "__code__"):
                    yield function
        elif hasattr(value, "__code__"):
            yield value


def _branches(code: CodeType) -> Iterator[tuple[int, int, dict[str, set[int]]]]:
    """Line, offset, and per way the offsets one of which comes next."""
    instructions = list(dis.get_instructions(code))
    line = code.co_firstlineno
    for one, following in pairwise(instructions):
        line = one.starts_line or line
        conditional = "JUMP" in one.opname and "IF" in one.opname
        if conditional or one.opname == "FOR_ITER":
            yield line, one.offset, {"jumps": {one.argval}, "goes on": {following.offset}}
