"""`leap-provider`: what an operator types. Exit codes: 0 fine, 1 it cannot be done, 2 wrong usage."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from ipaddress import ip_address
from pathlib import Path

import click

from leap.provider.alias_commands import alias
from leap.provider.dkim_cli import dkim

_DOMAIN = re.compile(
    r"^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$"
)
_PORT = click.IntRange(0, 65535)


class _OneLine(logging.Formatter):
    """A log line is one line: where something failed is named, what it held is not printed."""

    def format(self, record: logging.LogRecord) -> str:
        kind, _, trace = record.exc_info or (None, None, None)
        record.exc_info = record.exc_text = record.stack_info = None
        line = super().format(record).replace("\n", " ")
        if kind is None:
            return line
        last = traceback.extract_tb(trace)[-1:]
        where = "".join(f" in {Path(frame.filename).name} line {frame.lineno}" for frame in last)
        return f"{line} ({kind.__name__}{where})"


@click.group()
@click.version_option(package_name="leap-mail", prog_name="leap-provider")
def main() -> None:
    """Runs a provider of encrypted mail: accounts, sync, mail in and out."""


main.add_command(dkim)


@main.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of this provider; made if missing.",
)
@click.option("--domain", required=True, help="The domain of its addresses.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--api-port", type=_PORT, default=0, help="HTTPS; 0: the last one, or any free.")
@click.option("--mx-port", type=_PORT, default=0, help="Mail from outside; 0 as above.")
@click.option("--submission-port", type=_PORT, default=0, help="Mail from users; 0 as above.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="DOMAIN=HOST:PORT",
    help="Send mail for DOMAIN there; may be repeated.",
)
@click.option("--public-name", help="The host name clients know this provider by.")
@click.option("--signup/--no-signup", default=True, help="Whether new accounts are taken.")
@click.option(
    "--check-mail/--no-check-mail",
    default=True,
    help="Whether the senders of mail from outside are checked (SPF, DKIM, DMARC).",
)
@click.option(
    "--dns-server",
    "dns_servers",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Ask this resolver, by its address, instead of the system's; may be repeated.",
)
@click.option(
    "--refuse-disowned/--no-refuse-disowned",
    default=False,
    help="Refuse mail that fails DMARC where the domain in From asks for it (p=reject).",
)
@click.option("--ready-fd", type=click.IntRange(0), help="Write a JSON line here when all listen.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="The same, into a file.")
def serve(
    data: Path,
    domain: str,
    host: str,
    api_port: int,
    mx_port: int,
    submission_port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    routes: tuple[str, ...],
    public_name: str | None,
    signup: bool,
    check_mail: bool,
    dns_servers: tuple[str, ...],
    refuse_disowned: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Serves until it is told to end (SIGTERM, Ctrl-C).

    Without --tls-cert the provider makes its own authority in DATA/tls; give its ca.pem to clients.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    from leap.provider.daemon import CannotServe, ServeOptions
    from leap.provider.daemon import serve as run

    options = ServeOptions(
        data=data,
        domain=_domain(domain, "--domain"),
        host=host,
        api_port=api_port,
        mx_port=mx_port,
        submission_port=submission_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        routes=dict(_route(route) for route in routes),
        public_name=None if public_name is None else _domain(public_name, "--public-name"),
        signup_open=signup,
        check_mail=check_mail,
        dns_servers=tuple(_dns_server(server) for server in dns_servers),
        refuse_disowned=refuse_disowned,
        ready_fd=ready_fd,
        ready_file=ready_file,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        run(options)
    except CannotServe as error:
        click.echo(f"leap-provider: {error}", err=True)
        sys.exit(1)


@main.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a provider that is not running.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON.")
def compact(data: Path, as_json: bool) -> None:
    """Gives unused space back to the disk. A provider that runs does so by itself when there is much."""
    from leap.provider.daemon import CannotServe
    from leap.provider.upkeep import compact_folder

    try:
        freed = compact_folder(data)
    except CannotServe as error:
        click.echo(f"leap-provider: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(freed._asdict()))
    else:
        given = max(0, freed.before - freed.after)
        click.echo(f"{given} bytes were given back; {freed.after} are in use.")


main.add_command(alias)


def _domain(text: str, option: str) -> str:
    domain = text.lower().rstrip(".")
    if not _DOMAIN.match(domain):
        raise click.BadParameter(
            f"{text!r} is not a domain name (write others than ASCII ones as xn--…)",
            param_hint=option,
        )
    return domain


def _dns_server(text: str) -> tuple[str, int]:
    host, port = text, "53"
    if text.startswith("["):
        host, _, behind = text[1:].partition("]")
        port = behind.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if address is None or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(
            f"{text!r} is not an address, as in 192.0.2.53 or [2001:db8::53]:5353",
            param_hint="--dns-server",
        )
    return str(address), int(port)


def _route(text: str) -> tuple[str, tuple[str, int]]:
    domain, _, target = text.partition("=")
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(
            f"{text!r} is not DOMAIN=HOST:PORT, as in other.test=127.0.0.1:2526",
            param_hint="--route",
        )
    return _domain(domain, "--route"), (host, int(port))


if __name__ == "__main__":
    main()
