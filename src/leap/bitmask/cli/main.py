"""The entry of the `bitmask` command: global options, and which file holds which command.

Commands are imported when they are named, so that `bitmask --help` stays quick.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

# name -> (module under leap.bitmask.cli, attribute, line of help)
_COMMANDS = {
    "start": (
        "daemon",
        "start",
        "Start the daemon: local IMAP and SMTP servers, sync, encryption.",
    ),
    "stop": ("daemon", "stop", "Stop the daemon."),
    "status": ("daemon", "status", "Show what the daemon does and how each account is."),
    "user": ("user", "user", "Create an account, log in on this device, log out, list accounts."),
    "mail": ("mail", "mail", "Settings for your mail program, state of the mail, import, export."),
    "sync": ("sync", "sync", "How sync is; sync now; what is kept here; go on after an alarm."),
    "doctor": ("doctor", "doctor", "Verify, export, import, rebuild or compact the store."),
    "keys": ("keys", "keys", "Keys of your own and of others: explain, find, compare."),
    "device": ("device", "device", "List, rename and remove the devices of an account."),
    "passphrase": ("passphrase_change", "passphrase", "Change the passphrase of an account."),
    "recovery": (
        "recovery",
        "recovery",
        "Show the recovery code; get back into an account by it.",
    ),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(
            importlib.import_module(f"leap.bitmask.cli.{module}"), attribute
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BITMASK_HOME",
    help="Where bitmask keeps its encrypted data. Also $BITMASK_HOME.",
)
@click.version_option(package_name="leap-mail", prog_name="bitmask")
@click.pass_context
def main(ctx: click.Context, home: Path | None) -> None:
    """Private mail with the mail program you like.

    bitmask runs a local IMAP and SMTP server which encrypt, sign, decrypt and verify by themselves,
    and keeps all mail in an encrypted store that it syncs to a provider that cannot read it.
    """
    from leap.bitmask.home import Home, default_home

    ctx.obj = Home(home if home is not None else default_home())


def run() -> None:
    """The `bitmask` command. What it refuses is one sentence, with `--json` an object as well."""
    import sys

    try:
        code = main.main(standalone_mode=False)
    except click.exceptions.Abort:
        print("bitmask: Interrupted.", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        as_json = "--json" in sys.argv
        if as_json:
            import json

            kind = getattr(error, "kind", "usage")
            print(json.dumps({"error": kind, "message": error.format_message()}))
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (`{error.ctx.command_path} --help` explains.)"
        print(f"bitmask: {error.format_message()}{hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
