"""A cheap IMAP load client: one socket, commands and the octets until their tagged answer, nothing parsed between.

It needs a fraction of any server's CPU: an answer is received into large pieces, of which only the end is looked at.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Sequence

PIECE = 1 << 20
PATIENCE = 900.0


class Refused(Exception):
    """The server answered NO or BAD."""


class Client:
    """A connection, logged in."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self._socket = socket.create_connection((host, port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = b""
        self._count = 0
        self.received = 0
        self.line()
        self.do(f'LOGIN "{user}" "{password}"')
        self.capabilities = set(self.ask("CAPABILITY").upper().split())

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(PIECE)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.received += len(data)
        return data

    def line(self) -> bytes:
        """The next line."""
        while b"\r\n" not in self._kept:
            self._kept += self._more()
        line, _, self._kept = self._kept.partition(b"\r\n")
        return line

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def tag(self) -> bytes:
        self._count += 1
        return b"bench%d" % self._count

    def wait(self, tag: bytes, kept: list[bytes] | None = None) -> None:
        """Reads until that tag is answered. Raises Refused."""
        mark = re.compile(rb"(?:^|\r\n)" + tag + rb" (OK|NO|BAD)([^\r\n]*)\r\n")
        tail = self._kept
        while True:
            # the plain search first: the pattern takes seconds for what it takes milliseconds
            at = tail.find(tag)
            found = mark.search(tail, max(0, at - 2)) if at >= 0 else None
            if found:
                if kept is not None:
                    kept.append(tail[: found.start()])
                self._kept = tail[found.end() :]
                break
            if len(tail) > 4_096:  # no status line is longer
                if kept is not None:
                    kept.append(tail[:-4_096])
                tail = tail[-4_096:]
            tail += self._more()
        if found.group(1) != b"OK":
            raise Refused(found.group(2).decode(errors="replace"))

    def do(self, command: str) -> float:
        """Seconds that a command takes. Raises Refused."""
        began = time.perf_counter()
        tag = self.tag()
        self.send(tag + b" " + command.encode() + b"\r\n")
        self.wait(tag)
        return time.perf_counter() - began

    def ask(self, command: str) -> str:
        """What a command answers before its tagged line."""
        kept: list[bytes] = []
        tag = self.tag()
        self.send(tag + b" " + command.encode() + b"\r\n")
        self.wait(tag, kept)
        return b"".join(kept).decode(errors="replace")

    def fresh(self, mailbox: str) -> None:
        """Makes an empty mailbox of that name."""
        try:
            self.do(f'DELETE "{mailbox}"')
        except Refused:
            pass
        self.do(f'CREATE "{mailbox}"')

    # -- adding

    def append_each(self, mailbox: str, mails: Iterable[bytes]) -> float:
        """Seconds for one APPEND after another, each waiting for the "+"."""
        began = time.perf_counter()
        for mail in mails:
            tag = self.tag()
            self.send(b'%s APPEND "%s" (\\Seen) {%d}\r\n' % (tag, mailbox.encode(), len(mail)))
            if not self.line().startswith(b"+"):
                raise Refused("no continuation")
            self.send(mail + b"\r\n")
            self.wait(tag)
        return time.perf_counter() - began

    def append_pipelined(self, mailbox: str, mails: Iterable[bytes], window: int = 64) -> float:
        """Seconds with so many APPENDs on their way."""
        began = time.perf_counter()
        waiting: list[bytes] = []
        for mail in mails:
            tag = self.tag()
            head = b'%s APPEND "%s" (\\Seen) {%d+}\r\n' % (tag, mailbox.encode(), len(mail))
            self.send(head + mail + b"\r\n")
            waiting.append(tag)
            if len(waiting) == window:
                self.wait(waiting[window // 2])
                del waiting[: window // 2 + 1]
        if waiting:
            self.wait(waiting[-1])
        return time.perf_counter() - began

    def append_many(self, mailbox: str, mails: Sequence[bytes], together: int = 100) -> float:
        """Seconds with MULTIAPPEND (RFC 3502)."""
        began = time.perf_counter()
        for first in range(0, len(mails), together):
            tag = self.tag()
            pieces = [b'%s APPEND "%s"' % (tag, mailbox.encode())]
            pieces += [
                b" (\\Seen) {%d+}\r\n%s" % (len(mail), mail)
                for mail in mails[first : first + together]
            ]
            self.send(b"".join(pieces) + b"\r\n")
            self.wait(tag)
        return time.perf_counter() - began

    # -- waiting for news

    def idle(self) -> None:
        self.send(b"idle IDLE\r\n")
        while not self.line().startswith(b"+"):
            pass

    def until(self, word: bytes) -> None:
        """Reads lines until one has the word."""
        while word not in self.line():
            pass

    def end_idle(self) -> None:
        self.send(b"DONE\r\n")
        self.wait(b"idle")
