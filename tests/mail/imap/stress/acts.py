"""What the clients, a program on the API and the other device do at random."""

from __future__ import annotations

import random

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountError,
    MailboxId,
    NewMessage,
)
from tests.mail.imap.stress.client import Client, Cut
from tests.mail.imap.stress.model import Model, Moment

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "\\Draft", "kw", "$Junk")
STANDING = ("INBOX", "Archive", "Junk", "work", "work/deep")
PASSING = ("passing", "passing/below")  # made and deleted all the time
MOST = 60  # messages in a mailbox, above which the clients rather delete


def letter(chance: random.Random) -> bytes:
    """A mail like no other; now and then a large one."""
    size = chance.choice((0, 40, 700, 3_000, 3_000, 40_000))
    token = f"{chance.getrandbits(64):016x}"
    return (
        f"From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: {token}\r\n"
        f"Message-ID: <{token}@example.test>\r\n\r\n{token}\r\n"
    ).encode() + b"a line of it\r\n" * (size // 14)


def some_flags(chance: random.Random) -> set[str]:
    return set(chance.sample(FLAGS, chance.choice((0, 1, 1, 2))))


class Person:
    """Decides what one client does next."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.client = client
        self.chance = chance

    def mailbox(self) -> str:
        if self.chance.random() < 0.12:
            return self.chance.choice(PASSING)
        return self.chance.choice(STANDING[:3] if self.chance.random() < 0.8 else STANDING)

    async def act(self) -> None:
        """One step; a connection that the server may end is made anew."""
        client, chance = self.client, self.chance
        try:
            if not client.connected:
                await client.connect()
            if client.model is None:
                if chance.random() < 0.3:
                    await self.elsewhere()
                else:
                    await self.open()
                return
            if chance.random() < 0.6:
                await learn_all(client)
            if client.model is None:
                return
            client.told_highest = False
            await chance.choices(
                (self.store, self.read, self.find, self.transfer, self.expunge, self.append,
                 self.listen, self.open, self.leave, self.elsewhere, self.together),
                (22, 14, 7, 12, 9, 14, 9, 4, 2, 6, 6),
            )[0]()  # fmt: skip
            # in the middle of anything, and most when told how far it has heard: what it remembers must do
            if client.kind == "qresync" and chance.random() < (
                0.4 if client.told_highest else 0.02
            ):
                await client.hang_up()
        except Cut:
            return

    # -- kinds of steps

    async def open(self) -> None:
        client, chance = self.client, self.chance
        condstore = client.kind == "condstore"
        name = self.mailbox()
        if client.kept and chance.random() < 0.5:
            name = chance.choice(sorted(client.kept))
        await client.select(name, read_only=chance.random() < 0.1, condstore=condstore)
        if client.model is not None:
            await learn_all(client)

    async def leave(self) -> None:
        """Ends the selection or the connection in one of the ways there are."""
        way = self.chance.randrange(4)
        client = self.client
        if way == 0:
            await client.hang_up()
            return
        client.keep()
        if way == 1:
            client.kept.pop(client.selected_name, None)  # CLOSE expunges without a word
            assert b" OK " in await client.command(b"CLOSE")
            client.model = None
        elif way == 2:
            assert b" OK " in await client.command(b"UNSELECT")
            client.model = None
        else:
            await client.command(b"LOGOUT")

    async def store(self) -> None:
        model = self._model()
        if not model.messages or model.read_only:
            return
        by_uid = self.chance.random() < 0.5
        numbers = self._numbers(model, by_uid)
        if not numbers:
            return
        flags = some_flags(self.chance) or {"\\Seen"}
        since = 0
        if self.client.kind != "plain" and self.chance.random() < 0.3:
            since = max(1, model.highest - self.chance.randrange(4))
            model.condstore = True
        op = self.chance.choice(("+", "-", "+", ""))
        silent = self.chance.random() < 0.4
        await self.client.store(numbers, by_uid, op, silent, flags, since)

    async def read(self) -> None:
        model, chance, client = self._model(), self.chance, self.client
        if not model.messages:
            return
        by_uid = chance.random() < 0.5
        numbers = self._numbers(model, by_uid)
        if not numbers:
            return
        items = chance.choice(
            (
                "FLAGS",
                "(RFC822.SIZE)",
                "BODY.PEEK[]",
                "BODY[]",
                "(ENVELOPE FLAGS)",
                "(FLAGS BODY.PEEK[])",
            )
        )
        modifier = ""
        if client.kind != "plain" and chance.random() < 0.3:
            items = chance.choice(("(FLAGS MODSEQ)", "(MODSEQ BODY[])", "(MODSEQ)"))
            if chance.random() < 0.5:
                vanished = " VANISHED" if by_uid and client.kind == "qresync" else ""
                modifier = f" (CHANGEDSINCE {max(1, model.highest - 2)}{vanished})"
        moment = Moment(expunges=by_uid)
        asked = numbers if by_uid else [model.messages[n - 1].uid for n in numbers]
        text = f"{'UID ' if by_uid else ''}FETCH {','.join(map(str, numbers))} {items}{modifier}"
        said = await client.command(text.encode(), moment=moment)
        if not modifier and b" OK " in said:
            for uid in asked:
                if uid is not None and uid not in moment.answered:
                    assert by_uid, f"FETCH left out uid {uid}"
                    assert model.find(uid) is None, f"UID FETCH left out uid {uid}"

    async def find(self) -> None:
        model, chance = self._model(), self.chance
        by_uid = chance.random() < 0.5
        key = chance.choice(
            ("ALL", "SEEN", "DELETED", "UNDELETED", "KEYWORD kw", "NOT FLAGGED", "SMALLER 900")
        )
        moment = Moment(expunges=by_uid)
        text = f"{'UID ' if by_uid else ''}SEARCH {key}".encode()
        known, count = set(model.known()), len(model.messages)
        whole = all(one.uid is not None for one in model.messages)
        said = await self.client.command(text, moment=moment)
        assert b" OK " in said, said
        assert moment.searched is not None
        if by_uid:
            assert not whole or set(moment.searched) <= known, (
                "SEARCH names a uid that was not told"
            )
        else:
            assert all(1 <= number <= count for number in moment.searched)

    async def transfer(self) -> None:
        model, chance = self._model(), self.chance
        verb = chance.choice(("COPY", "MOVE"))
        if not model.messages or (verb == "MOVE" and model.read_only):
            return
        if verb == "COPY" and len(model.messages) > MOST:
            verb = "MOVE" if not model.read_only else "COPY"
        by_uid = chance.random() < 0.5
        numbers = self._numbers(model, by_uid)
        if numbers:
            text = ",".join(map(str, numbers))
            await self.client.transfer(verb, text, self.mailbox(), by_uid)

    async def expunge(self) -> None:
        model, chance = self._model(), self.chance
        if model.read_only:
            assert b" NO " in await self.client.command(b"EXPUNGE")
            return
        many = len(model.messages) > MOST
        if many and model.known():
            uids = chance.sample(model.known(), len(model.known()) // 2)
            await self.client.store(sorted(uids), True, "+", True, {"\\Deleted"}, 0)
        if self.client.model is not None:
            uids = model.known()
            if chance.random() < 0.5 and uids:
                low, high = sorted(chance.choices(uids, k=2))
                assert b" OK " in await self.client.command(b"UID EXPUNGE %d:%d" % (low, high))
            else:
                assert b" OK " in await self.client.command(b"EXPUNGE")

    async def append(self) -> None:
        chance = self.chance
        flags = " ".join(some_flags(chance))
        await self.client.append(self.mailbox(), letter(chance), flags, chance.random() < 0.5)

    async def listen(self) -> None:
        if self.chance.random() < 0.5:
            await self.client.noop()
        else:
            await self.client.idle(self.chance.random() * 0.05)

    async def elsewhere(self) -> None:
        """Asks about, makes and deletes other mailboxes."""
        chance = self.chance
        name = self.mailbox()
        passing = chance.choice(PASSING)
        text = chance.choice(
            (f"STATUS {name} (MESSAGES UNSEEN UIDNEXT)", f"STATUS {name} (SIZE RECENT)", 'LIST "" *',
             f"CREATE {passing}", f"DELETE {passing}", f"RENAME {PASSING[0]} passed", "RENAME passed passing",
             f"SUBSCRIBE {name}", "CAPABILITY")
        )  # fmt: skip
        self.client.keep()
        if passing in text or "passed" in text:
            self.client.kept.clear()  # names stand for others now
        said = await self.client.command(text.encode())
        assert b" BAD " not in said, said

    async def together(self) -> None:
        """Several commands before the answers to any: only such as no EXPUNGE between them can turn about."""
        chance, model = self.chance, self._model()
        uids = model.known()
        if not uids:
            return
        texts = []
        for _ in range(chance.randrange(2, 6)):
            uid = chance.choice(uids)
            texts.append(
                chance.choice(
                    (b"UID FETCH %d (FLAGS)", b"UID STORE %d +FLAGS (kw)", b"UID FETCH 1:%d (UID)")
                )
                % uid
            )
            if chance.random() < 0.3:
                texts.append(b"NOOP")
        for said in await self.client.commands_at_once(texts):
            assert b" OK " in said or b" NO [" in said, said

    # -- choosing

    def _model(self) -> Model:
        assert self.client.model is not None
        return self.client.model

    def _numbers(self, model: Model, by_uid: bool) -> list[int]:
        chance = self.chance
        here = model.known() if by_uid else list(range(1, len(model.messages) + 1))
        if not here:
            return []
        few = chance.choice((1, 1, 2, 3, 8))
        if chance.random() < 0.1:
            return here
        return sorted(chance.sample(here, min(few, len(here))))


async def learn_all(client: Client) -> None:
    """Asks for the uid and the flags of every message of which they were not told."""
    model = client.model
    if model is None:
        return
    missing = [
        place for place, one in enumerate(model.messages, 1) if one.uid is None or one.flags is None
    ]
    if missing:
        items = b"(FLAGS MODSEQ RFC822.SIZE)" if client.kind != "plain" else b"(FLAGS RFC822.SIZE)"
        numbers = b"%d:%d" % (missing[0], missing[-1])
        said = await client.command(b"FETCH " + numbers + b" " + items, moment=Moment())
        assert b" OK " in said, said
        asked = model.messages[missing[0] - 1 : missing[-1]]
        assert all(one.uid and one.flags is not None for one in asked), "FETCH left something out"


class Source:
    """A program on the API of an account: here, or on another device."""

    def __init__(self, account: AccountBackend, chance: random.Random, *, remakes: bool) -> None:
        self.account = account
        self.chance = chance
        self.remakes = remakes
        self.acts = 0

    async def act(self) -> None:
        chance, account = self.chance, self.account
        self.acts += 1
        try:
            boxes = [info.mailbox_id for info in await account.list_mailboxes()]
            here = INBOX if chance.random() < 0.5 else chance.choice(boxes)
            rows = await account.rows(here)
            uids = [
                row.uid for row in chance.sample(rows, min(len(rows), chance.choice((1, 2, 5))))
            ]
            uids.sort()
            match chance.choices(range(6), (30, 25, 10, 10, 10, 4))[0]:
                case 0:
                    new = NewMessage(raw=letter(chance), flags=tuple(some_flags(chance)))
                    await account.append(here, [new] * chance.choice((1, 1, 3)))
                case 1:
                    op = chance.choice(("add", "remove", "set"))
                    await account.store_flags(here, uids, op, sorted(some_flags(chance)))  # type: ignore[arg-type]
                case 2:
                    await account.copy(here, uids, chance.choice(boxes))
                case 3:
                    await account.move(here, uids, chance.choice(boxes))
                case 4:
                    await account.store_flags(here, uids, "add", ["\\Deleted"])
                    await account.expunge(here, uids)
                case 5 if self.remakes:
                    await self._remake()
        except AccountError:
            return  # the mailbox went meanwhile

    async def _remake(self) -> None:
        name = self.chance.choice(PASSING)
        for info in await self.account.list_mailboxes():
            if info.name == name:
                await self.account.delete_mailbox(info.mailbox_id)
                return
        await self.account.create_mailbox(name)


def standing(mailbox_id: MailboxId) -> bool:
    """Whether nobody deletes this mailbox."""
    return mailbox_id in ("inbox", "archive", "junk")
