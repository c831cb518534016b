"""`bitmask mail search` and `bitmask mail show`."""

from __future__ import annotations

import sys
from typing import Any

import click

from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.home import Home

SHORT_ID = 10  # characters of an id in a list; two of 100,000 messages are alike in them once in 200 accounts


def _chosen(home: Home, address: str | None) -> str:
    from leap.bitmask.cli.mail import one_account  # which imports this module

    return one_account(home, address)


def plain(text: str, *, keep: str = "") -> str:
    """A text of others for a terminal: nothing in it can move the cursor or change colours."""
    return "".join(c if c.isprintable() or c in keep else " " for c in text)


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--account", "address", type=ADDRESS, help="In which account.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="At most so many.",
)
@json_option
@pass_home
def search(
    home: Home, query: tuple[str, ...], address: str | None, limit: int, as_json: bool
) -> None:
    """Find messages, newest first. Put -- before a QUERY that begins with a minus sign.

    \b
    heron report            both words, also inside longer ones
    "stands still"          these words one after the other
    from: to: subject: body:            a word in that place
    in:sent is:unread tag:work has:attachment
    before:2026-03-01 after:2026        days
    -heron, this OR that                not, either
    """

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_reading import search_mail

        chosen = _chosen(home, address)
        return await search_mail(home, chosen, _query(query), limit)

    def words(result: dict[str, Any]) -> None:
        for one in result["messages"]:
            click.echo(
                f"{one['id'][:SHORT_ID]}  {one['date'][:10]}  {plain(one['from'])[:24]:<24}"
                f"  {plain(one['subject'])[:60]}  ({plain(one['mailbox'])})"
            )
        if not result["messages"]:
            click.echo("Nothing found.")
        if result["more"]:
            click.echo(f"There are more; --limit shows more than {limit}.")
        if result["unsearched"]:
            click.echo(
                f"{result['unsearched']} messages could not be searched: their content is still at the provider."
            )

    answer(run(work()), as_json=as_json, words=words)


def _query(words: tuple[str, ...]) -> str:
    """The shell took the quotes of phrases away: an argument with a space in it is one, unless it has quotes left."""
    if len(words) == 1:
        return words[0]
    out = []
    for word in words:
        if " " in word and '"' not in word:
            name, colon, value = word.partition(":")
            word = f'{name}:"{value}"' if colon and " " not in name else f'"{word}"'
        out.append(word)
    return " ".join(out)


@click.command()
@click.argument("message")
@click.option("--account", "address", type=ADDRESS, help="In which account.")
@click.option("--headers", is_flag=True, help="Print the exact header.")
@click.option("--raw", is_flag=True, help="Print the exact message.")
@click.option("--original", is_flag=True, help="Print the message as it came, still encrypted.")
@click.option("--part", metavar="N", help="Print the content of part N, as 2 or 1.2.")
@json_option
@pass_home
def show(
    home: Home,
    message: str,
    address: str | None,
    headers: bool,
    raw: bool,
    original: bool,
    part: str | None,
    as_json: bool,
) -> None:
    """Show a MESSAGE, by the id which `bitmask mail search` prints or the beginning of it."""
    if headers + raw + original + (part is not None) + as_json > 1:
        raise click.UsageError(
            "--headers, --raw, --original, --part and --json exclude each other."
        )

    if headers or raw or original or part is not None:

        async def octets() -> bytes:
            from leap.bitmask.mail_reading import read_mail

            chosen = _chosen(home, address)
            return await read_mail(
                home, chosen, message, headers=headers, part=part, original=original
            )

        sys.stdout.buffer.write(run(octets()))
        sys.stdout.buffer.flush()
        return

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_reading import show_mail

        return await show_mail(home, _chosen(home, address), message)

    def words(result: dict[str, Any]) -> None:
        for name, text in result["fields"].items():
            click.echo(f"{name}: {plain(text)}")
        for line in security_lines(result["security"]):
            click.echo(line)
        for one in result["sent_to"]:
            click.echo(f"Sent: {plain(_sent(one))}")
        click.echo()
        click.echo(plain(result["text"], keep="\n\t").rstrip())
        files = [one for one in result["parts"] if one["name"] is not None]
        if files:
            click.echo()
        for one in files:
            name = plain(one["name"]) or "without a name"
            click.echo(
                f"Attachment {one['part']}: {name} ({plain(one['type'])}, {one['size']} octets)"
            )

    answer(run(work()), as_json=as_json, words=words)


_ENCRYPTION = {
    "end-to-end": "encrypted end to end",
    "provider": "not encrypted by its sender",
    "undecryptable": "not opened, kept as it came",
    "local": "put here by you",
    "none": "not encrypted",
}


def security_lines(security: dict[str, Any]) -> list[str]:
    """What may be believed of a message, as lines."""
    lines = [f"Security: {_covering(security)}"]
    if security["note"]:
        lines.append(f"Note: {plain(security['note'])}")
    if security["html"]:
        lines.append("HTML: encrypted with the mail; show it without loading anything")
    if security["headers_differ"]:
        lines.append(f"Outside it said something else: {', '.join(security['headers_differ'])}")
    for one in security["parts"]:
        note = f" ({plain(one['note'])})" if one["note"] else ""
        lines.append(f"Part {one['section']}: {_covering(one)}{note}")
    if (checks := security["provider"]) is not None:
        lines.append(f"According to your provider: {_checks(checks)}")
    return lines


def _covering(covered: dict[str, Any]) -> str:
    signatures = [
        f"{one['state']} signature"
        + (f" of {plain(one['signer'])}" if one["signer"] else "")
        + (f", a {one['level'].replace('-', ' ')} key" if one["level"] else "")
        + (f" ({plain(one['reason'])})" if one["reason"] else "")
        for one in covered["signatures"]
    ]
    # a part that is only signed may lie inside an encryption
    own_layer = covered["encryption"] != "none" or not signatures
    encryption = [_ENCRYPTION[covered["encryption"]]] if own_layer else []
    return "; ".join([*encryption, *signatures])


def _checks(checks: dict[str, Any]) -> str:
    if checks["submitter"]:
        return f"written by its account {plain(checks['submitter'])}"
    said = [f"DMARC {checks['dmarc']}"] + [f"DKIM {one['result']}" for one in checks["dkim"]]
    return plain(", ".join([*said, f"SPF {checks['spf']}"]))


def _sent(one: dict[str, Any]) -> str:
    """How a mail in Sent went to one recipient."""
    how = {
        "encrypted": "encrypted",
        "signed": "readable, signed",
        "clear": "readable",
        "as-is": "encrypted by the mail program",
    }.get(one["how"], "")
    state = {"sent": "handed on", "failed": "not delivered", "cancelled": "called back"}
    said = ", ".join(part for part in (state.get(one["state"], one["state"]), how) if part)
    return f"{one['address']}: {said}" + (f" ({one['code']})" if one["state"] == "failed" else "")
