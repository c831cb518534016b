"""Taking mail in an SMTP or LMTP conversation: MAIL, RCPT, DATA, BDAT and the replies.

RFC 5321 3.3, RFC 2033 4.2, RFC 3030 2. What BDAT announces is read to its end whatever is said about it:
octets of a mail are never taken for commands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from leap.mail.delivery_wishes import DeliveryNotice, read_wishes
from leap.mail.smtp import replies
from leap.mail.smtp.address import BadAddress, BadSyntax, is_ascii, parse_path
from leap.mail.smtp.body import Body
from leap.mail.smtp.contract import SUBMISSION_KEYWORD, Envelope
from leap.mail.smtp.events import Event, MailReceived, RecipientGiven, SenderGiven
from leap.mail.smtp.parameters import check_parameters, find_notice
from leap.mail.smtp.text import ChunkReader, Text, TextReader
from leap.mail.smtp.turns import Transaction, Turns
from leap.mail.smtp.wire import Reply

_CHUNK = re.compile(r"([0-9]{1,19})(?: +(LAST))?", re.IGNORECASE)  # RFC 3030 2: bdat-cmd
FAR_OVER = 64 * 1024 * 1024  # octets over twice the limit: a sender who does not stop is stopped


class TakingMail(Turns):
    """The part of a conversation that ends with mail."""

    def _mail(self, argument: str) -> Event | None:
        config, session = self._config, self.session
        if not session.helo:
            return self._wrong(replies.hello_first(config))
        if config.auth == "required" and session.principal is None:
            needs_tls = config.auth_needs_tls and not session.tls
            return self._wrong(replies.TLS_REQUIRED if needs_tls else replies.AUTH_REQUIRED)
        if self._transaction is not None:
            return self._wrong(replies.NESTED_MAIL)
        if argument[:5].upper() != "FROM:":
            return self._wrong(replies.MAIL_SYNTAX)
        try:
            address, params = parse_path(argument[5:])
        except BadSyntax as error:
            return self._wrong(replies.bad_path(error, "sender"))
        if refusal := check_parameters(params, config, session):
            return self._wrong(refusal)
        if not is_ascii(address) and "SMTPUTF8" not in params:
            return self._wrong(replies.needs_smtputf8("sender"))
        if int(params.get("SIZE", "0")) > config.max_size:
            return self._say(replies.too_large(config.max_size))
        return SenderGiven(address, params)

    def _sender_decided(self, asked: SenderGiven, reply: Reply) -> None:
        if reply.positive:
            self._transaction = Transaction(asked.address, asked.params)
        self._say(reply)

    def _rcpt(self, argument: str) -> Event | None:
        transaction = self._transaction
        if transaction is None:
            return self._wrong(replies.MAIL_FIRST)
        if transaction.chunks is not None:
            return self._wrong(replies.CHUNKS_BEGUN)
        if argument[:3].upper() != "TO:":
            return self._wrong(replies.RCPT_SYNTAX)
        try:
            address, params = parse_path(argument[3:])
            if not address:
                raise BadAddress("There is no recipient.")
        except BadSyntax as error:
            return self._wrong(replies.bad_path(error, "recipient"))
        notice = find_notice(params, self._config, self.session)
        if isinstance(notice, Reply):
            return self._wrong(notice)
        if not is_ascii(address) and not transaction.smtputf8:
            return self._wrong(replies.needs_smtputf8("recipient"))
        if len(transaction.recipients) >= self._config.limits.recipients:
            return self._say(replies.TOO_MANY_RECIPIENTS)
        declared = int(transaction.params.get("SIZE", "0"))
        if transaction.recipients and self._is_too_much(declared, len(transaction.recipients) + 1):
            return self._say(replies.TOO_MANY_RECIPIENTS)
        return RecipientGiven(address, notice)

    def _recipient_decided(self, asked: RecipientGiven, reply: Reply) -> None:
        assert self._transaction is not None
        recipients, notices = self._transaction.recipients, self._transaction.notices
        if not reply.positive:
            self._refused_recipients += 1
        elif self._config.lmtp or asked.address not in recipients:
            recipients.append(asked.address)
            if asked.notice != DeliveryNotice():
                notices.setdefault(asked.address, asked.notice)
        self._say(reply)

    def _data(self, argument: str) -> Event | None:
        transaction = self._transaction
        if transaction is None:
            return self._wrong(replies.MAIL_FIRST)
        if argument:
            return self._wrong(replies.NO_ARGUMENT)
        if transaction.chunks is not None:  # RFC 3030 2: not both
            return self._wrong(replies.CHUNKS_BEGUN)
        if not transaction.recipients:
            return self._wrong(replies.NO_RECIPIENTS)
        if not self._has_room():
            return self._say(replies.NO_ROOM)
        self._text = TextReader(self._config.max_size, self._config.limits.line, self._new_body())
        return self._say(replies.GO_AHEAD)

    def _new_body(self) -> Body:
        return Body(self._config.spool_folder)

    def _read_text(self, reader: TextReader) -> bool:
        """Reads on; False when more octets are needed."""
        text = reader.feed(self._input)
        if reader.mail.size > 2 * self._config.max_size + FAR_OVER:
            self.end(replies.FAR_TOO_LARGE)
            return True
        if text is None:
            return False
        self._text = None
        self.commands += 1
        self._asked = self._mail_came(text)
        return True

    # -- chunks ---------------------------------------------------------------------------------

    def _bdat(self, argument: str) -> Event | None:
        match = _CHUNK.fullmatch(argument)
        if match is None:
            # What follows cannot be told from commands: a mail could hold some.
            self.end(replies.BDAT_SYNTAX)
            return None
        size, last = int(match[1]), match[2] is not None
        if size > 2 * self._config.max_size + FAR_OVER:
            self.end(replies.FAR_TOO_LARGE)
            return None
        chunks = self._chunks_of(self._transaction)
        chunks.begin(size, last)
        self._chunks = chunks
        return None

    def _chunks_of(self, transaction: Transaction | None) -> ChunkReader:
        """Where the octets go; without a mail they belong to, nowhere (RFC 3030 2: they come all the same)."""
        if transaction is not None and transaction.chunks is not None:
            return transaction.chunks
        limit, line = self._config.max_size, self._config.limits.line
        chunks = ChunkReader(limit, line, self._new_body())
        if transaction is None:
            chunks.refusal = replies.MAIL_FIRST
        elif not transaction.recipients:
            chunks.refusal = replies.NO_RECIPIENTS
        elif not self._has_room():
            transaction.chunks = chunks
            chunks.refusal = replies.NO_ROOM
        else:
            transaction.chunks = chunks
        return chunks

    def _read_chunk(self, chunks: ChunkReader) -> bool:
        """Reads on; False when more octets are needed."""
        if not chunks.feed(self._input):
            return False
        self._chunks = None
        self.commands += 1
        if chunks.refusal is None and chunks.mail.fault is not None:
            chunks.refusal = replies.text_fault(chunks.mail.fault, self._config)
        if chunks.refusal is not None:  # until RSET, or the last chunk
            self._chunk_refused(chunks, chunks.refusal)
        elif chunks.last:
            self._asked = self._mail_came(chunks.mail.whole())
        else:
            self._say(replies.chunk_taken(chunks.mail.size))
        return True

    def _chunk_refused(self, chunks: ChunkReader, refusal: Reply) -> None:
        transaction = self._transaction
        if transaction is None or transaction.chunks is not chunks:
            self._wrong(refusal)
        elif chunks.last:
            self._mail_answered(refusal)
        else:
            self._say(refusal)

    # -- the mail -------------------------------------------------------------------------------

    def _is_too_much(self, size: int, recipients: int) -> bool:
        limit = self._config.limits.copied
        return limit is not None and size * recipients > limit

    def _mail_came(self, text: Text) -> Event | None:
        transaction = self._transaction
        assert transaction is not None
        recipients = len(transaction.recipients)
        if recipients > 1 and text.fault is None and self._is_too_much(text.size, recipients):
            self._mail_answered(replies.TOO_MUCH_AT_ONCE)
            return None
        if text.fault is not None:
            self._mail_answered(replies.text_fault(text.fault, self._config))
            return None
        submission_id = transaction.params.get(SUBMISSION_KEYWORD)
        return MailReceived(
            Envelope(
                transaction.sender,
                tuple(transaction.recipients),
                transaction.params,
                transaction.smtputf8,
                submission_id,
                read_wishes(transaction.params, transaction.notices),
            ),
            text.body,
        )

    def _mail_decided(self, reply: Reply | Sequence[Reply] | None) -> None:
        if isinstance(reply, Reply):
            self._mail_answered(reply)
        elif not reply:
            self._mail_answered(replies.MAIL_OK)
        elif not self._config.lmtp:
            self._mail_answered(next((one for one in reply if not one.positive), reply[0]))
        else:
            self._mail_answered(*reply)

    def _mail_answered(self, *answers: Reply) -> None:
        transaction = self._transaction
        assert transaction is not None
        self._transaction = None
        if self._config.lmtp:  # RFC 2033 4.2: one for each recipient, in order
            wanted = len(transaction.recipients)
            if len(answers) != wanted:
                answers = (answers if len(answers) == 1 else (replies.LOCAL_ERROR,)) * wanted
        for answer in answers:
            self._say(answer)
        if any(answer.positive for answer in answers):
            self._errors = 0
            self._idle_commands = 0
