"""Many clients that idle on one mailbox: `python -m bench.idling HOST PORT MAILBOX COUNT` says when each hears.

It runs beside the server, so that its own work is not counted. For each line it is given it waits until every client
has read the next EXISTS, and writes the moments of the first, the middle and the last (`time.monotonic`) as JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from tests.mail.imap.talk import PASSWORD, USER


def idling(host: str, port: int, mailbox: str) -> socket.socket:
    """A connection that was told to idle."""
    client = socket.create_connection((host, port), 30)
    file = client.makefile("rb")
    file.readline()
    for number, command in enumerate((f"LOGIN {USER} {PASSWORD}", f"SELECT {mailbox}")):
        client.sendall(f"a{number} {command}\r\n".encode())
        while not file.readline().startswith(b"a%d OK" % number):
            pass
    client.sendall(b"i IDLE\r\n")
    while not file.readline().startswith(b"+"):
        pass
    return client


def hear(clients: list[socket.socket]) -> list[float]:
    """When each has read EXISTS."""
    moments = []
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while len(moments) < len(clients):
            for key, _ in selector.select():
                if b" EXISTS" in key.fileobj.recv(65536):  # type: ignore[union-attr]
                    moments.append(time.monotonic())
                    selector.unregister(key.fileobj)
    return sorted(moments)


def main() -> None:
    host, port, mailbox, count = sys.argv[1:]
    clients = [idling(host, int(port), mailbox) for _ in range(int(count))]
    print("ready", flush=True)
    for _ in sys.stdin:
        moments = hear(clients)
        said = [moments[0], moments[len(moments) // 2], moments[-1]]
        print(json.dumps(said), flush=True)
        time.sleep(0.1)  # what else belongs to the notice is read
        for client in clients:
            client.setblocking(False)
            try:
                client.recv(65536)
            except BlockingIOError:
                pass
            client.setblocking(True)


if __name__ == "__main__":
    main()
