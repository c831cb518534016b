"""The part of an account where mail is written: drafts, replies, forwarded mail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from leap.mail.collection import MessageCollection
from leap.mail.contract import AccountBackend, MailboxInfo, NotPermitted, SecurityStatus
from leap.mail.draft import Draft, special_mailbox
from leap.mail.envelope import Person
from leap.mail.message import quoting
from leap.mail.message.new_message import File
from leap.mail.messages import Message
from leap.mail.outline import INLINE

ANSWERED, FORWARDED = "\\Answered", "$Forwarded"  # RFC 9051 2.3.2


class Writing:
    """The part of `Account` that writes mail."""

    backend: AccountBackend

    async def drafts(self) -> MessageCollection:
        """The messages of the mailbox for drafts, which is made if there is none; `open_draft` opens one of them."""
        mailbox_id = await special_mailbox(self.backend, "\\Drafts", "Drafts")
        infos = await self.backend.list_mailboxes()
        found = next((info for info in infos if info.mailbox_id == mailbox_id), None)
        return MessageCollection(self.backend, found or MailboxInfo(mailbox_id=mailbox_id, name=""))

    def new_draft(
        self,
        *,
        to: Iterable[Person | str] = (),
        cc: Iterable[Person | str] = (),
        bcc: Iterable[Person | str] = (),
        subject: str = "",
        text: str = "",
        html: str | None = None,
        files: Iterable[File] = (),
        sender_name: str = "",
    ) -> Draft:
        """A new mail from this account; nothing is stored before its `save` or `send`."""
        return Draft(
            self.backend,
            sender=Person(sender_name, self.backend.address),
            to=to,
            cc=cc,
            bcc=bcc,
            subject=subject,
            text=text,
            html=html,
            files=files,
        )

    async def open_draft(self, message: Message) -> Draft:
        """The draft that a message in Drafts is, to go on writing; `save` replaces the message.

        Header fields which a `Draft` has no place for are lost when it is saved. Raises NoSuchMessage,
        ContentUnavailable.
        """
        return await Draft.of(self.backend, message)

    async def reply(
        self, message: Message, *, everyone: bool = False, sender_name: str = ""
    ) -> Draft:
        """The beginning of a reply to a message: to whom, about what, with what its writer wrote as a quotation.

        Of a message of which some parts came encrypted and others did not nothing is quoted. Once it is sent, the
        message is marked as answered. Raises NoSuchMessage, ContentUnavailable.
        """
        quote = not _is_of_several_layers(await message.security())
        view = (await message.outline(texts=True)).message
        write = partial(quoting.reply, view, own=await self._own(), everyone=everyone, quote=quote)
        begun = await asyncio.to_thread(write) if len(view.raw) > INLINE else write()
        draft = Draft(
            self.backend,
            sender=Person(sender_name, self.backend.address),
            to=[Person(*one) for one in begun.to],
            cc=[Person(*one) for one in begun.cc],
            subject=begun.subject,
            text=begun.text,
            in_reply_to=begun.in_reply_to,
            references=begun.references,
        )
        return draft.answering(message, ANSWERED)

    async def _own(self) -> list[str]:
        """The addresses that are one's own in an answer."""
        try:
            return await self.backend.addresses()
        except NotPermitted:  # an account that only reads
            return [self.backend.address]

    async def forward(
        self, message: Message, *, as_attachment: bool = False, sender_name: str = ""
    ) -> Draft:
        """The beginning of a mail that passes a message on: as text with its files, or whole as an attachment.

        Once it is sent, the message is marked as forwarded. Raises NoSuchMessage, ContentUnavailable.
        """
        if as_attachment:
            view = await message.open()
            text = ""
            files = [File("", "message/rfc822", view.raw)]
        else:
            view = (await message.outline(texts=True)).message
            long = len(view.raw) > INLINE
            write = partial(
                quoting.forwarded,
                view,
                quote=not _is_of_several_layers(await message.security()),
            )
            quoted = (await asyncio.to_thread(write)) if long else write()
            text = f"\n\n{quoted}"
            files = [
                File(part.attachment_name or "", part.content_type, await part.content())
                for part in await message.attachments()
            ]
        draft = Draft(
            self.backend,
            sender=Person(sender_name, self.backend.address),
            subject=quoting.forward_subject(view.subject),
            text=text,
            files=files,
            references=quoting.references(view),
        )
        return draft.answering(message, FORWARDED)


def _is_of_several_layers(security: SecurityStatus) -> bool:
    """Whether some parts of a message came encrypted and others did not."""
    return security.encryption != "end-to-end" and any(
        part.encryption == "end-to-end" for part in security.parts
    )
