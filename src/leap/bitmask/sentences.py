"""What a person reads of errors and of sync: whole sentences."""

from __future__ import annotations

from leap.mail.contract import SyncStatus


def sentence(error: Exception | str) -> str:
    """The words of an error, as a sentence; a path, address or host at their beginning stays as it is."""
    text = str(error).strip()
    first = text.split(" ", 1)[0].rstrip(".,:;")
    as_it_is = text.startswith(("/", "'")) or "@" in first or "." in first
    return _ended(text if as_it_is else text[:1].upper() + text[1:])


def _ended(text: str) -> str:
    return text + ("" if text.endswith((".", "!", "?")) else ".")


def sync_sentence(status: SyncStatus) -> str:
    """How sync is, for a person."""
    if status.alarm:
        return f"SYNC STOPPED: {status.alarm}. To let it go on: bitmask sync resume."
    if status.online and status.error:
        return f"Online, but sync fails: {_ended(status.error)}" + _waiting(status)
    if status.provisional:
        return "Fetching the mail of this account for the first time."
    parts = []
    if status.pending or status.blobs_to_send:
        parts.append(_unsent(status))
    if status.blobs_to_fetch:
        parts.append(f"{status.blobs_to_fetch} contents are still to be fetched")
    if status.contents_missing:
        lost = status.contents_missing
        parts.append(
            f"{_count(lost, 'content')} {'is' if lost == 1 else 'are'} missing or damaged at the provider"
            " (your other devices are asked, and the provider again at least daily)"
        )
    state = "; ".join(parts) or "everything is synced"
    if status.online:
        return f"Online, {state}."
    return f"Offline, {state}." + (f" {sentence(status.error)}" if status.error else "")


def _waiting(status: SyncStatus) -> str:
    return f" {_unsent(status)}." if status.pending or status.blobs_to_send else ""


def _unsent(status: SyncStatus) -> str:
    changes, contents = _count(status.pending, "change"), _count(status.blobs_to_send, "content")
    return f"{changes} and {contents} wait to be sent"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
