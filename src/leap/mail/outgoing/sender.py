"""The worker that empties the outbox: keys, policy, encryption, submission, results, and again later.

    due entry -> copies there, and new? -no-> look up keys -> decide -> copies there, to the same keys?
              -no-> encrypt -> keep copies (durable)
              -> each copy: take those who wait for it in hand (durable) -> submit -> note results
              -> all settled: report failures into INBOX, end      else: back-off

Invariants:
* Stopping between any two steps and starting again sends nothing twice: the bytes and the submission id are
  kept before the first attempt, the provider remembers the id, and a report's row id is derived from the entry.
* What was made `LASTING` ago or longer goes only if it might be made so again now: a key that was blocked, revoked,
  replaced or is in doubt meanwhile stops it, and so does what the person set. A copy for another key is made anew for
  those who wait, under the id of the old one. Whoever got the old one, though its answer was lost, gets no other.
* A person may cancel at any time: a mail is handed over only for those who were taken in hand before, and whoever
  is in hand cannot be cancelled until it is certain that nothing was handed over for them.
* "encrypted" is for ever: such an entry waits or fails when keys are gone, it never becomes clear.
* One bad entry delays no other; nothing that goes wrong with one ends the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from leap.keymanager.openpgp import ExpiredCertificate, OpenPGPError, SecretKey
from leap.mail.outgoing.accepting import Outgoing
from leap.mail.outgoing.copies import (
    Addressee,
    autocrypt_address,
    for_other_keys,
    make_copies,
    untouched_copy,
)
from leap.mail.outgoing.field_lines import header_fields
from leap.mail.outgoing.outbox import Outbox
from leap.mail.outgoing.outbox_entries import Copy, Entry, Protection
from leap.mail.outgoing.policy import Clear, Refuse, Split, Wait, clear_of
from leap.mail.outgoing.recipient_keys import Keys, own_key_problem, own_key_sentence
from leap.mail.outgoing.reporting import Reporter
from leap.mail.outgoing.seven_bit import CannotSign
from leap.mail.outgoing.signed_mail import cannot_sign_sentence
from leap.mail.outgoing.submission import Refused, Submission, SubmissionUnavailable
from leap.mail.outgoing.wish import wish_named
from leap.mail.sent_copy import Left, SentMailbox, keep_sent_copy
from leap.mail.sent_fields import sent_fields

logger = logging.getLogger(__name__)

AT_ONCE = 8  # mails under way
MEMORY = 64 * 1024 * 1024  # octets of mail under way; one larger mail goes alone
FIRST_RETRY = 5.0  # seconds; doubled each time
LONGEST_RETRY = 3600.0
LOOKUP_SECONDS = 60.0  # nobody waits for the answer here
LASTING = 60.0  # seconds after which keys and policy are looked at again before copies are sent
IDLE_LOOK = 300.0  # seconds after which the outbox is looked at without being woken


class Sender:
    """Sends what is in one account's outbox."""

    def __init__(
        self,
        outgoing: Outgoing,
        keys: Keys,
        submission: Submission,
        account: SentMailbox,
        *,
        row_key: Callable[[bytes], str],
        may_send: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """`account` is where reports and copies of what left go.

        `row_key` is the store's; `may_send` says no while the device is provisional; `jitter` gives [0, 1).
        """
        self._outgoing = outgoing
        self._outbox: Outbox = outgoing.outbox
        self._keys = keys
        self._submission = submission
        self._account = account
        self._reporter = Reporter(account, row_key, now)
        self._may_send = may_send
        self._now = now
        self._jitter = jitter
        self._new_id = new_id
        self._woken = asyncio.Event()
        self._under_way: dict[str, tuple[asyncio.Task[None], int]] = {}

    def wake(self) -> None:
        """Looks at the outbox now."""
        self._woken.set()

    async def came_online(self) -> None:
        """Tries everything that waits, at once."""
        await self._outbox.make_due()
        self.wake()

    async def run(self) -> None:
        """Sends until cancelled; what is under way is then given up, and sent the next time."""
        stop_listening = self._outbox.on_change(self.wake)
        try:
            while True:
                self._woken.clear()
                try:
                    timeout = await self._start_due()
                except Exception as error:
                    logger.warning("the outbox cannot be read: %s", type(error).__name__)
                    timeout = FIRST_RETRY
                # Not wait_for: before Python 3.12 it can swallow a cancellation (gh-86296).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._woken.wait()
        finally:
            stop_listening()
            tasks = [task for task, _ in self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def process_due(self) -> None:
        """Tries every entry that is due once, and returns when all were tried."""
        if self._may_send():
            for outbox_id, _ in await self._outbox.due(limit=10_000):
                await self.process(outbox_id)

    async def process(self, outbox_id: str) -> None:
        """One attempt for one entry."""
        entry = await self._outbox.load(outbox_id)
        if entry is None:
            return
        if not entry.waiting:  # cancelled, or a crash came before its end
            await self._settle(entry, "")
            return
        copies = entry.copies if self._are_new(entry) else await self._make_copies(entry)
        if not copies:
            return
        problem = ""
        for copy in copies:
            problem = await self._submit(entry, copy) or problem
        await self._settle(entry, problem)

    # -- the worker ---------------------------------------------------------------------------

    async def _start_due(self) -> float:
        """Starts what is due and has room; answers how long to sleep."""
        if not self._may_send():
            return FIRST_RETRY
        now = self._now()
        for outbox_id, size in await self._outbox.due():
            if outbox_id in self._under_way:
                continue
            busy = sum(taken for _, taken in self._under_way.values())
            if len(self._under_way) >= AT_ONCE or (busy and busy + size > MEMORY):
                return IDLE_LOOK  # the end of one of them wakes us
            task = asyncio.create_task(self._guarded(outbox_id))
            self._under_way[outbox_id] = (task, size)
        next_due = await self._outbox.next_due(now)
        if next_due is None:
            return IDLE_LOOK
        return min(IDLE_LOOK, max(0.05, next_due - self._now()))

    async def _guarded(self, outbox_id: str) -> None:
        try:
            await self.process(outbox_id)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.warning("sending failed for a reason that is ours: %s", type(error).__name__)
            try:
                entry = await self._outbox.load(outbox_id)
                if entry is not None:
                    await self._later(entry, "something failed on this device")
            except Exception as second:  # not even that could be noted: the disk is full, perhaps
                logger.warning("a mail that waits could not be noted: %s", type(second).__name__)
                await asyncio.sleep(FIRST_RETRY)
        finally:
            self._under_way.pop(outbox_id, None)
            self.wake()

    # -- making the copies --------------------------------------------------------------------

    def _are_new(self, entry: Entry) -> bool:
        """Whether there are copies, of which nothing that matters can have changed."""
        if entry.protection == "as-is":  # the mail program chose its keys
            return bool(entry.copies)
        waiting, now = set(entry.waiting), self._now()
        left = [copy for copy in entry.copies if waiting.intersection(copy.recipients)]
        return bool(entry.copies) and all(0 <= now - copy.made < LASTING for copy in left)

    async def _make_copies(self, entry: Entry) -> Sequence[Copy]:
        """The copies to send, kept durably; none when the entry waits or has ended.

        Those which the entry has already stay as they are where they are for the keys that would be used now.
        """
        if entry.protection == "as-is":
            # encrypted by the mail program, which speaks for the key it signed with
            return await self._keep(entry, untouched_copy(entry, self._new_id), "as-is")
        now = self._now()
        fields = header_fields(entry.message)
        decided = await self._outgoing.deciding.decide(
            entry.waiting, wish_named(entry.policy), fields, now=now, seconds=LOOKUP_SECONDS
        )
        decision = decided.decision
        in_clear = clear_of(decision, entry.waiting)
        if in_clear & entry.pinned:
            decision = Refuse(
                "Not sent: it was to be encrypted, and now the recipients have no keys or are set never to be"
                " encrypted to."
            )
        if isinstance(decision, Refuse):
            await self._refuse(entry, decision.sentence)
            return ()
        if isinstance(decision, Wait):
            await self._later(entry, decision.sentence)
            return ()
        addressees = [
            Addressee(one.address, None if one.address in in_clear else one.certificate)
            for one in decided.looked
        ]
        stale = for_other_keys(entry, addressees, now)
        if entry.copies and not stale:
            return entry.copies
        sign_clear = isinstance(decision, Clear | Split) and decision.signed
        signer = None
        if sign_clear or len(in_clear) < len(addressees):
            signer = await self._signer(entry, now)
            if signer is None:
                return ()
        try:
            copies = await make_copies(
                entry,
                addressees,
                signer,
                sign_clear=sign_clear,
                autocrypt=await self._autocrypt(entry),
                now=now,
                new_id=self._new_id,
                instead_of=stale,
            )
        except OpenPGPError as error:
            await self._refuse(entry, f"Not sent: {error}.")
            return ()
        except CannotSign as error:
            await self._refuse(entry, cannot_sign_sentence(error))
            return ()
        kept = await self._keep(entry, copies, "open" if in_clear else "encrypted", stale)
        if kept:
            used = {
                looked.name: looked.certificate.fingerprint
                for looked, one in zip(decided.looked, addressees, strict=True)
                if looked.certificate is not None and one.certificate is not None
            }
            if used:
                await self._keys.note_encrypted(used)
        return kept

    async def _signer(self, entry: Entry, now: float) -> SecretKey | None:
        """The key to sign with; None when there is none now, and the entry waits or has ended."""
        own = await self._keys.own_keys()
        if not own:
            await self._later(entry, "this account has no key yet to sign with")
            return None
        problem = own_key_problem(own, now)
        if isinstance(problem, ExpiredCertificate):
            await self._later(entry, own_key_sentence(problem))
            return None
        if problem is not None:
            await self._refuse(entry, own_key_sentence(problem))
            return None
        return own[0]

    async def _autocrypt(self, entry: Entry) -> str | None:
        """The value of our Autocrypt field for a mail; None when it should have none."""
        address = autocrypt_address(entry)
        if address is None:
            return None
        try:
            return await self._keys.autocrypt_header(address)
        except Exception as error:  # mail goes without it
            logger.info("there is no Autocrypt header: %s", type(error).__name__)
            return None

    async def _keep(
        self,
        entry: Entry,
        copies: Sequence[Copy],
        protection: Protection,
        instead_of: Sequence[Copy] = (),
    ) -> Sequence[Copy]:
        """All copies of the entry then; none when it was cancelled meanwhile."""
        kept = await self._outbox.keep_copies(
            entry.outbox_id, copies, protection, instead_of=instead_of
        )
        if not kept:
            return ()
        return [*(copy for copy in entry.copies if copy not in instead_of), *copies]

    # -- submitting ---------------------------------------------------------------------------

    async def _submit(self, entry: Entry, copy: Copy) -> str:
        """Submits one copy to those of its recipients who wait; answers why nothing came of it, or ""."""
        taken = await self._outbox.take(entry.outbox_id, copy.name)
        if not taken.recipients:
            return ""
        try:
            results = await self._submission.submit(
                copy.submission_id,
                entry.sender,
                list(taken.recipients),
                copy.message,
                entry.wishes.only_for(taken.recipients),
            )
        except SubmissionUnavailable as error:
            if not error.may_have_arrived:
                await self._outbox.put_back(entry.outbox_id, taken.new)
            return str(error)
        answers = {one: results[one] for one in taken.recipients if one in results}
        refused = [one for one in taken.new if isinstance(answers.get(one), Refused)]
        await self._outbox.note_results(entry.outbox_id, answers, refused)
        return ""

    async def _settle(self, entry: Entry, problem: str) -> None:
        entry = replace(entry, recipients=await self._outbox.recipients(entry.outbox_id))
        if entry.waiting:
            last = next((one.reply for one in entry.recipients if one.state == "waiting"), "")
            await self._later(entry, problem or last or "the provider gave no answer")
        else:
            await self._end(entry)

    async def _later(self, entry: Entry, reason: str) -> None:
        """Waits before the next attempt, or gives up when the entry has been tried for days."""
        now = self._now()
        if now >= entry.expires:
            await self._give_up(entry, f"5.4.7 Not delivered in time: {reason}")
            return
        if await self._reporter.tell_delay(entry, reason):
            await self._outbox.note_delay_told(entry.outbox_id)
        delay = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(entry.attempts, 20))
        delay *= 0.75 + self._jitter() / 2
        await self._outbox.postpone(
            entry.outbox_id, min(now + delay, entry.expires), reason, attempted=True
        )

    async def _refuse(self, entry: Entry, sentence: str) -> None:
        # whether an attempt before arrived is not known when its answer was lost
        before = " An earlier attempt may have reached the provider." if entry.copies else ""
        await self._give_up(entry, f"5.7.1 {sentence}{before}")

    async def _give_up(self, entry: Entry, reason: str) -> None:
        await self._outbox.note_results(
            entry.outbox_id, dict.fromkeys(entry.waiting, (550, reason))
        )
        recipients = await self._outbox.recipients(entry.outbox_id)
        await self._end(replace(entry, recipients=recipients))

    async def _end(self, entry: Entry) -> None:
        await self._reporter.tell_failures(entry)
        await self._keep_sent_copy(entry)
        await self._outbox.finish(entry.outbox_id)

    async def _keep_sent_copy(self, entry: Entry) -> None:
        """Sent has what left, with what became of each recipient."""
        if all(one.state == "cancelled" for one in entry.recipients):
            return
        if not (await self._outgoing.rules.load()).sent_copies:
            return
        found = await self._outbox.entries(entry.outbox_id)
        results = [one for found_one in found for one in found_one.recipients_state]
        await keep_sent_copy(
            self._account,
            Left(
                message_id=entry.message_id,
                message=b"".join(entry.added) + entry.message,
                fields=sent_fields(results),
                row_id=self._outgoing.sent_copy_id(entry.outbox_id),
                ended=int(self._now()),
            ),
        )
