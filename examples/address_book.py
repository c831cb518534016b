"""An address book that is encrypted on the disk, and on every device of yours if a provider keeps it.

It uses leap.soledad alone. The passphrase is asked for, or read from standard input when that is no terminal.

python examples/address_book.py FOLDER add "Alice Oak" alice@example.test friends tennis
python examples/address_book.py FOLDER find [al]            names, addresses and groups that begin with it
python examples/address_book.py FOLDER remove "Alice Oak"
python examples/address_book.py FOLDER watch [--count N]    tells of changes, also of other devices
python examples/address_book.py FOLDER sign-up bob@example.test --provider URL [--ca FILE]
python examples/address_book.py FOLDER join bob@example.test --provider URL [--ca FILE]
python examples/address_book.py FOLDER sync
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from leap.soledad import (
    Document,
    ProviderClient,
    Soledad,
    SoledadError,
    SyncEngine,
    Transaction,
    create_vault,
    enrol_device,
    open_vault,
    sign_up,
)

SEEN = "address-book.seen"  # up to which change `watch` has told


@asynccontextmanager
async def opened(folder: Path, passphrase: str) -> AsyncIterator[Soledad]:
    """The store of the book; made when it is not there yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = folder / "key"
    key = await (open_vault if vault.exists() else create_vault)(vault, passphrase)
    merges = {"person": "fields"}  # what two devices change in different fields is kept, both
    async with await Soledad.open(folder / "book.db", key, merges=merges) as store:
        await store.create_index("words", "split_words(lower(combine(name, email, groups)))")
        await store.create_index("name", "lower(name)")
        yield store


async def add(store: Soledad, name: str, email: str, groups: list[str]) -> None:
    """A new person, or new facts about a known one."""
    content = {"type": "person", "name": name, "email": email, "groups": groups}
    for document in await store.get_from_index("name", name.lower().rstrip("*")):
        document.content = content
        await store.put_doc(document)
        return
    await store.create_doc(content)


async def find(store: Soledad, word: str) -> list[Document]:
    """By name, address or group; all in the order of their names if `word` is empty."""
    if not word:
        return await store.get_from_index("name", "*")
    return await store.get_from_index("words", word.lower().rstrip("*") + "*")


async def remove(store: Soledad, name: str) -> int:
    """All persons of that name, or none if that fails."""
    found = await store.get_from_index("name", name.lower().rstrip("*"))

    def job(tx: Transaction) -> None:
        for document in found:
            tx.delete(document.doc_id)

    await store.transact(job)
    return len(found)


def show(document: Document) -> str:
    if document.content is None:
        return f"(removed: {document.doc_id})"
    person = document.content
    groups = f"  [{', '.join(person['groups'])}]" if person["groups"] else ""
    return f"{person['name']} <{person['email']}>{groups}"


async def watch(store: Soledad, count: int | None) -> None:
    """Tells of every change once, also over restarts."""
    seen = await store.setting(SEEN) or 0
    async for change in store.changes(since=seen):
        print(f"{change.seq}: {show(change.document)}", flush=True)
        seq = change.seq
        await store.transact(lambda tx, seq=seq: tx.set_setting(SEEN, seq))
        if count is not None and (count := count - 1) == 0:
            return


@asynccontextmanager
async def synced(store: Soledad) -> AsyncIterator[SyncEngine | None]:
    """Keeps the store in step with its provider, if it has one."""
    material = store.material
    if material is None:
        yield None
        return
    async with ProviderClient(
        material.api_url, ca_pem=material.ca_pem, token=material.token
    ) as client:
        engine = SyncEngine(store, client)
        try:
            yield engine
        finally:
            await engine.close()


async def run(options: argparse.Namespace, passphrase: str) -> None:
    async with opened(options.folder, passphrase) as store:
        if options.command in ("sign-up", "join"):
            async with ProviderClient(options.provider, ca_file=options.ca) as client:
                enrol = sign_up if options.command == "sign-up" else enrol_device
                enrolled = await enrol(client, options.address, passphrase, "address book")
                await store.save_material(enrolled.material.with_token(client.token))
                if enrolled.recovery_code is not None:
                    print(f"Write this recovery code down:\n{enrolled.recovery_code}")
        async with synced(store) as engine:
            if options.command == "add":
                await add(store, options.name, options.email, options.groups)
            elif options.command == "find":
                for document in await find(store, options.word):
                    print(show(document))
            elif options.command == "remove":
                print(f"{await remove(store, options.name)} removed")
            elif options.command == "watch":
                running = asyncio.create_task(engine.run()) if engine is not None else None
                try:
                    await watch(store, options.count)
                finally:
                    if running is not None:
                        running.cancel()
                        await asyncio.gather(running, return_exceptions=True)
            elif engine is None:
                print("This book has no provider yet: sign up, or join.")
            else:
                result = await engine.sync()
                print(f"{result.pulled} came, {result.pushed} went")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An encrypted address book.")
    parser.add_argument("folder", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("add")
    command.add_argument("name")
    command.add_argument("email")
    command.add_argument("groups", nargs="*")
    commands.add_parser("find").add_argument("word", nargs="?", default="")
    commands.add_parser("remove").add_argument("name")
    commands.add_parser("watch").add_argument("--count", type=int)
    commands.add_parser("sync")
    for name in ("sign-up", "join"):
        command = commands.add_parser(name)
        command.add_argument("address")
        command.add_argument("--provider", required=True, help="https://...")
        command.add_argument("--ca", type=Path, help="the provider's own authority, if it has one")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    asked = sys.stdin.isatty()
    passphrase = getpass.getpass("Passphrase: ") if asked else sys.stdin.readline().rstrip("\n")
    try:
        asyncio.run(run(options, passphrase))
    except SoledadError as error:
        print(f"address_book: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
