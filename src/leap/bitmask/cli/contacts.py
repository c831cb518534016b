"""`bitmask keys verify|policy|block|delete`: what you decide about the keys of others."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli import key_options
from leap.bitmask.cli.key_options import account_option, shown_groups
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("fingerprint", nargs=-1)
@account_option
@click.option("--undo", is_flag=True, help="Take back that you compared it.")
@click.option("--keep", is_flag=True, help="Keep the old key, though another one is offered.")
@click.option(
    "--accept", is_flag=True, help="Take the key that is offered, without comparing fingerprints."
)
@json_option
@pass_home
def verify(
    home: Home,
    address: str,
    fingerprint: tuple[str, ...],
    account: str | None,
    undo: bool,
    keep: bool,
    accept: bool,
    as_json: bool,
) -> None:
    """Say that you compared the fingerprint of ADDRESS's key with its owner.

    Ask them, by telephone or when you meet, what `bitmask keys show` says of their own key, and give it as
    FINGERPRINT (groups and lower case are fine); without it, what to compare is shown and you are asked. A key you
    verified is never replaced without asking you.
    """
    ways = {"take-back": undo, "keep": keep, "accept": accept, "compared": bool(fingerprint)}
    chosen = [how for how, wanted in ways.items() if wanted]
    if len(chosen) > 1:
        raise click.UsageError("Give either a fingerprint, or one of --undo, --keep and --accept.")
    own = one_account(home, account)
    if not chosen:
        compared = run(ask(home, "keys-compare", address=own, of=address))
        if as_json:
            answer(compared, as_json=True, words=lambda result: None)
            return
        chosen, fingerprint = ["compared"], (_compared(compared),)
    how = chosen[0]

    async def work() -> Any:
        given = " ".join(fingerprint)
        return await ask(
            home, "keys-verify", address=own, of=address, how=how, fingerprint=given or None
        )

    def words(result: dict[str, Any]) -> None:
        key = shown_groups(result["fingerprint"])
        if result["level"] == "fingerprint":
            click.echo(f"You verified the key of {address}: {key}.")
        else:
            click.echo(f"The key of {address} is {key}, not verified ({result['level_words']}).")

    answer(run(work()), as_json=as_json, words=words)


def _compared(found: dict[str, Any]) -> str:
    """Shows what to compare and asks; the fingerprint that its owner confirmed."""
    address = found["address"]
    click.echo(f"Your own key:  {shown_groups(found['own'])}")
    _show(f"The key of {address}:", found["key"])
    offered = found["offered"]
    if offered is not None:
        _show("ANOTHER KEY IS OFFERED:", offered)
    click.echo(
        "The eight words are the same on both sides if nobody stands between you. Compare them, or the fingerprint,"
        " by telephone or when you meet."
    )
    if not key_options.somebody_answers():
        raise Failure(
            "not-compared",
            "Nothing was decided; give the fingerprint that its owner confirmed as an argument.",
        )
    for key, question in (
        (found["key"], f"Does {address} have this key and these words"),
        (offered, "Or the other key, which is offered"),
    ):
        if key is not None and click.confirm(
            f"{question}: {key['groups']}?" if offered is not None else f"{question}?"
        ):
            return str(key["fingerprint"])
    raise Failure(
        "not-compared",
        "Nothing was decided. If the fingerprints differ, do not write anything secret:"
        f" `bitmask keys block {address}` stops the use of the key.",
    )


def _show(head: str, key: dict[str, Any]) -> None:
    click.echo(head)
    click.echo(f"  {key['groups']}")
    click.echo(f"  words: {' '.join(key['words'])}")
    click.echo(f"  QR code: {key['qr']}")


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument(
    "policy", type=click.Choice(["prefer", "require", "never", "default"]), required=False
)
@click.option(
    "--sign",
    type=click.Choice(["on", "off", "default"]),
    help="Whether mail that leaves readable is signed.",
)
@account_option
@json_option
@pass_home
def policy(
    home: Home,
    address: str,
    policy: str | None,
    sign: str | None,
    account: str | None,
    as_json: bool,
) -> None:
    """Say whether mail to ADDRESS is encrypted: when there is a key, always, or never.

    With "require" it is sent encrypted or not at all. Without a policy the present one is shown. "default" is what
    `bitmask mail sending` says.
    """

    async def work() -> Any:
        own = one_account(home, account)
        return await ask(home, "keys-policy", address=own, of=address, policy=policy, sign=sign)

    def words(result: dict[str, Any]) -> None:
        click.echo(_POLICY_WORDS[result["policy"]].format(address=address))
        if result["sign"] != "default":
            negation = "" if result["sign"] == "on" else "not "
            click.echo(f"What leaves readable to {address} is {negation}signed.")

    answer(run(work()), as_json=as_json, words=words)


_POLICY_WORDS = {
    "prefer": "Mail to {address} is encrypted whenever a key is found.",
    "default": "Mail to {address} is encrypted as `bitmask mail sending` says (nothing else was set).",
    "require": "Mail to {address} is sent encrypted or not at all.",
    "never": "Mail to {address} is never encrypted.",
}


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("fingerprint", nargs=-1)
@account_option
@click.option("--undo", is_flag=True, help="Lift the block of this key.")
@click.option("--reason", help="A note for yourself.")
@json_option
@pass_home
def block(
    home: Home,
    address: str,
    fingerprint: tuple[str, ...],
    account: str | None,
    undo: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Never use a key for ADDRESS again, whoever offers it: the one it has now, or FINGERPRINT."""

    async def work() -> Any:
        return await ask(
            home,
            "keys-block",
            address=one_account(home, account),
            of=address,
            fingerprint=" ".join(fingerprint) or None,
            undo=undo,
            reason=reason,
        )

    def words(result: dict[str, Any]) -> None:
        if not result["blocked"]:
            click.echo(f"No key is blocked for {address}.")
        for one in result["blocked"]:
            click.echo(f"Blocked for {address}: {shown_groups(one['fingerprint'])}.")

    answer(run(work()), as_json=as_json, words=words)


@click.command()
@click.argument("address", type=ADDRESS)
@account_option
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@json_option
@pass_home
def delete(home: Home, address: str, account: str | None, yes: bool, as_json: bool) -> None:
    """Forget the key of ADDRESS, why it was believed and that you verified it, on all devices.

    Mail stays readable. What you set about ADDRESS stays as well: whether to encrypt, and blocked keys. The key can
    be found again when you write to ADDRESS or have mail of it; to rule that out, block it.
    """
    own = one_account(home, account)
    if not yes:
        if not key_options.somebody_answers():
            raise click.UsageError("Say --yes to go on without being asked.")
        if not click.confirm(f"Forget the key of {address} and all that is known about it?"):
            raise Failure("not-confirmed", "Nothing was done.")

    async def work() -> Any:
        return await ask(home, "keys-delete", address=own, of=address)

    def words(result: dict[str, Any]) -> None:
        click.echo(f"The key of {address} is forgotten: {shown_groups(result['fingerprint'])}.")

    answer(run(work()), as_json=as_json, words=words)
