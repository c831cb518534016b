"""Every `bitmask keys` command: what the issue of keys names is there, answers in JSON, and is explained."""

from __future__ import annotations

import re

import click
import pytest

from leap.bitmask.cli.keys import keys
from tests.conftest import ROOT

PROMISED = (
    *("list", "show", "find", "import", "export", "verify"),
    *("refresh", "rotate", "revoke", "backup", "restore", "delete"),
)
DOCUMENT = (ROOT / "docs" / "keys.md").read_text()


def test_all_promised_commands_are_there() -> None:
    assert set(PROMISED) <= set(keys.commands)


@pytest.mark.parametrize("name", sorted(keys.commands))
def test_a_command_answers_in_json_for_any_account_and_is_explained(name: str) -> None:
    command = keys.commands[name]
    options = {flag for one in command.params for flag in one.opts}
    assert {"--json", "--account"} <= options
    assert (command.help or "").strip().endswith(".")
    for one in command.params:
        if isinstance(one, click.Option):
            assert (one.help or "").endswith("."), f"{one.opts} says nothing, or no sentence"
    rows = "\n".join(re.findall(r"(?m)^\|.*$", DOCUMENT))
    assert re.search(rf"`(bitmask keys )?{name}\b", rows), f"{name} is in no table of docs/keys.md"
