"""A stranger to leap.mail: carol, whose program is neomutt with GnuPG and whose mail server is Postfix."""

from __future__ import annotations

import asyncio
import base64
import mailbox
import smtplib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.conftest import needs_program
from tests.keymanager.conftest import Gpg, gpg_at_work
from tests.mail.imap.test_peers import on_a_terminal
from tests.mail.smtp.postfix import Postfix, needs_postfix, postfix
from tests.scenarios.test_two_providers import free_port
from tests.scenarios.world import Device, world

ALICE, CAROL = "alice@example.test", "carol@elsewhere.test"
PATIENCE = 30.0
# What carol's program calls to send: the mail goes to her server, and a copy is kept beside.
_SENDMAIL = """\
import pathlib, smtplib, sys
raw = sys.stdin.buffer.read()
kept = pathlib.Path({folder!r})
(kept / f"{{len(list(kept.iterdir()))}}.eml").write_bytes(raw)
with smtplib.SMTP("127.0.0.1", {port}, "elsewhere.test", timeout=20) as server:
    server.sendmail({carol!r}, [{alice!r}], raw.replace(b"\\n", b"\\r\\n"), ["BODY=8BITMIME"])
"""
_RC = """\
set from="{carol}" realname="Carol" use_from=yes hostname=elsewhere.test charset=utf-8
set sendmail="{python} {folder}/sendmail.py" editor="{python} {folder}/editor.py"
set copy=no fast_reply=yes include=yes abort_unmodified=no abort_nosubject=no confirmappend=no
set wait_key=no sleep_time=0 quit=yes move=no mail_check=0 header_cache="" send_charset="utf-8"
set crypt_use_gpgme=yes crypt_verify_sig=yes crypt_protected_headers_read=yes pgp_default_key={key} pgp_sign_as={key}
set display_filter="tee {folder}/seen"
"""
# GnuPG run as a program, as neomutt's own samples do: the one way it writes clearsigned text.
CLEARSIGN = """\
set crypt_use_gpgme=no crypt_autopgp=yes pgp_autoinline=yes crypt_autosign=yes pgp_use_gpg_agent=yes
set pgp_clear_sign_command="gpg --batch --output - --textmode --armor --clearsign --local-user %a %f"
"""


@dataclass
class Carol:
    """`folder` holds the configuration of her program and its mailboxes; `key` is her fingerprint."""

    gpg: Gpg
    key: str
    server: Postfix
    folder: Path
    _turns: int = field(default=0)

    def see(self, raw: bytes) -> str:
        """What neomutt shows of a mail."""
        return self.do(raw, "<display-message><exit><quit>")

    def answer(self, raw: bytes, text: str, *settings: str) -> None:
        """Opens a mail and replies to it with `text` over the quotation.

        From the list, neomutt would answer the subject that stood outside of the encryption.
        """
        self.do(raw, "<display-message><reply><send-message><exit><quit>", *settings, text=text)

    def write(self, subject: str, text: str, *settings: str) -> None:
        """Sends alice a new mail."""
        keys = f"<mail>{ALICE}<enter>{subject}<enter><send-message><quit>"
        self.do(None, keys, *settings, text=text)

    def do(self, raw: bytes | None, keys: str, *settings: str, text: str = "") -> str:
        """Presses `keys` in a neomutt whose mailbox holds that mail alone; answers what it showed last."""
        self._turns += 1
        box = mailbox.Maildir(self.folder / f"box-{self._turns}", create=True)
        if raw is not None:
            box.add(raw)
        seen = self.folder / "seen"
        seen.unlink(missing_ok=True)
        (self.folder / "editor.py").write_text(
            "import pathlib, sys\nfile = pathlib.Path(sys.argv[1])\n"
            f"file.write_text({text!r} + file.read_text('utf-8'), 'utf-8')\n"
        )
        rc = self.folder / "neomuttrc"
        rc.write_text(
            _RC.format(carol=CAROL, python=sys.executable, folder=self.folder, key=self.key)
            + f'set folder="{self.folder}" spoolfile="+box-{self._turns}"\n'
            + "\n".join(settings)
        )
        command = ["env", f"GNUPGHOME={self.gpg.home}", needs_program("neomutt"), "-n"]
        asyncio.run(on_a_terminal([*command, "-F", str(rc), "-e", f'push "{keys}"'], self.folder))
        return seen.read_text("utf-8") if seen.exists() else ""

    @property
    def posted(self) -> list[bytes]:
        """What her program handed over to be sent, oldest first, with the line ends of this system."""
        kept = sorted((self.folder / "posted").iterdir(), key=lambda path: int(path.stem))
        return [path.read_bytes() for path in kept]

    def post(self, raw: bytes) -> None:
        """Hands a mail to her server, as her program does."""
        with smtplib.SMTP("127.0.0.1", self.server.port, "elsewhere.test", timeout=20) as server:
            server.sendmail(CAROL, [ALICE], raw.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])

    def wait_for_mail(self, count: int) -> bytes:
        """The newest mail in her mailbox, once it holds `count`."""
        wait_until(lambda: len(self.server.mails("carol")) >= count, self.server.log)
        return max(self.server.folder.glob("mail/carol/new/*"), key=_written).read_bytes()


@dataclass
class Correspondence:
    """Alice, at our provider with a daemon of hers, and carol; each has the other's key."""

    alice: Device
    carol: Carol

    def to_carol(self, raw: bytes) -> bytes:
        """Alice's mail program sends; answers what lies in carol's mailbox then."""
        before = len(self.carol.server.mails("carol"))
        with self.alice.smtp("alice") as smtp:
            smtp.sendmail(ALICE, [CAROL], raw)
        return self.carol.wait_for_mail(before + 1)

    def to_alice(self, send: Callable[[], None]) -> bytes:
        """Carol does something which sends a mail; answers what alice's mail program is served then."""
        before = len(self.alice.messages("alice"))
        send()
        served = self.alice.wait_for("alice", before + 1, timeout=PATIENCE)
        return served[max(served)]


@contextmanager
def correspondence(folder: Path) -> Iterator[Correspondence]:
    """All of it as real processes; on leaving, every one of them has ended."""
    needs_program("neomutt")
    needs_program("gpg")
    needs_postfix()
    mx = free_port()
    with gpg_at_work() as gpg, _postfix(folder, mx) as server:
        route = f"elsewhere.test=127.0.0.1:{server.port}"
        options = ("--mx-port", str(mx), "--route", route, "--no-check-mail")
        with world(folder, arguments=options) as made:
            (server.folder / "ca.pem").write_bytes(Path(made.provider.said["ca"]).read_bytes())
            alice = made.device("laptop")
            alice.create("alice")
            yield Correspondence(alice, _carol(gpg, server, folder / "carol", alice))


def wait_until(condition: Callable[[], bool], story: Callable[[], str]) -> None:
    """What other programs do is polled, with a deadline; `story` is told when it passes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, story()
        time.sleep(0.02)


def _carol(gpg: Gpg, server: Postfix, folder: Path, alice: Device) -> Carol:
    (folder / "posted").mkdir(parents=True)
    gpg.make_key(f"Carol <{CAROL}>", "default", "default", "never")
    gpg("--import", data=alice.ask("keys-export", address=ALICE, of=ALICE)["armored"].encode())
    gpg("--quick-lsign-key", fingerprints(gpg, ALICE)[0])  # she compared it, else neomutt asks
    key = fingerprints(gpg, CAROL)[0]
    exported = base64.b64encode(gpg("--export", CAROL)).decode()
    alice.ask("keys-import", address=ALICE, data=exported, origin="a file")
    (folder / "sendmail.py").write_text(
        _SENDMAIL.format(folder=str(folder / "posted"), port=server.port, carol=CAROL, alice=ALICE)
    )
    return Carol(gpg, key, server, folder)


def fingerprints(gpg: Gpg, address: str) -> list[str]:
    """Of the primary keys gpg has for an address."""
    lines = gpg("--with-colons", "--list-keys", address).decode().splitlines()
    kinds = [line.split(":") for line in lines if line.startswith(("pub:", "fpr:"))]
    return [after[9] for one, after in pairwise(kinds) if one[0] == "pub"]


@contextmanager
def _postfix(folder: Path, mx: int) -> Iterator[Postfix]:
    """Postfix beside tests that run no loop of their own."""
    routes = {"example.test": ("smtp", "127.0.0.1", mx)}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            peer = postfix(folder, "elsewhere.test", routes, "carol")
            yield runner.run(stack.enter_async_context(peer))
        finally:
            runner.run(stack.aclose())


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns
