"""`bitmask mail sending` and `bitmask mail addresses`."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.mail_reading import plain
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.home import Home

_ON_OFF = click.Choice(["on", "off"])


@click.command()
@click.argument("address", type=ADDRESS, required=False)
@click.option(
    "--encrypt",
    type=click.Choice(["prefer", "require", "never"]),
    help="When there is a key (prefer), always or not at all (require), never.",
)
@click.option("--sign", type=_ON_OFF, help="Sign mail that leaves readable, too.")
@click.option(
    "--mixed",
    type=click.Choice(["refuse", "clear", "split"]),
    help="When some recipients have a key and some have none.",
)
@click.option(
    "--replies",
    type=click.Choice(["refuse", "allow"]),
    help="Answers to encrypted mail that would leave readable.",
)
@click.option("--subject-tags", type=_ON_OFF, help="Obey [encrypt], [clear], [split] in subjects.")
@click.option("--sent-copies", type=_ON_OFF, help="Put what left into Sent, once.")
@json_option
@pass_home
def sending(
    home: Home,
    address: str | None,
    encrypt: str | None,
    sign: str | None,
    mixed: str | None,
    replies: str | None,
    subject_tags: str | None,
    sent_copies: str | None,
    as_json: bool,
) -> None:
    """Show or set what holds for all mail you send, on all devices.

    `bitmask keys policy` says otherwise for one contact; the header fields X-Leap-Encrypt and X-Leap-Sign for one mail.
    """
    words_given = {"encrypt": encrypt, "mixed": mixed, "replies": replies}
    switches = {"sign": sign, "subject_tags": subject_tags, "sent_copies": sent_copies}
    changes: dict[str, Any] = {name: word for name, word in words_given.items() if word is not None}
    changes |= {name: word == "on" for name, word in switches.items() if word is not None}

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_sending import sending_rules

        return await sending_rules(home, one_account(home, address), changes)

    def words(result: dict[str, Any]) -> None:
        for name, sentences in _WORDS.items():
            click.echo(sentences[result[name]])

    answer(run(work()), as_json=as_json, words=words)


_WORDS: dict[str, dict[Any, str]] = {
    "encrypt": {
        "prefer": "Mail is encrypted whenever a key is found (--encrypt prefer).",
        "require": "Mail is sent encrypted or not at all (--encrypt require).",
        "never": "Mail is never encrypted (--encrypt never).",
    },
    "sign": {
        True: "Mail that leaves readable is signed (--sign on); what is encrypted always is.",
        False: "Mail that leaves readable is not signed (--sign off); what is encrypted always is.",
    },
    "mixed": {
        "refuse": "When some recipients have no key, nothing is sent (--mixed refuse).",
        "clear": "When some recipients have no key, all get readable mail (--mixed clear).",
        "split": "When some recipients have no key, they get readable mail, and the others encrypted mail"
        " (--mixed split).",
    },
    "replies": {
        "refuse": "An answer to encrypted mail does not leave readable (--replies refuse).",
        "allow": "An answer to encrypted mail may leave readable (--replies allow).",
    },
    "subject_tags": {
        True: "[encrypt], [clear] and [split] in a subject are obeyed and taken off (--subject-tags on).",
        False: "Words in a subject mean nothing (--subject-tags off).",
    },
    "sent_copies": {
        True: "What left is put into Sent, unless the mail program does (--sent-copies on).",
        False: "Nothing is put into Sent (--sent-copies off).",
    },
}


@click.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def addresses(home: Home, address: str | None, as_json: bool) -> None:
    """Show the addresses you may send as: your own, and the aliases your provider gave you.

    With any +tag, too. The provider's operator gives aliases (`leap-provider alias`).
    """

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_sending import addresses as ask_addresses

        return await ask_addresses(home, one_account(home, address))

    def words(result: dict[str, Any]) -> None:
        for one in result["addresses"]:
            click.echo(plain(one))

    answer(run(work()), as_json=as_json, words=words)
