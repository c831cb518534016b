"""What `verify` finds: a class for programs, the thing it is about, and a sentence that says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    # at rest
    "file-damaged",  # the database file: an altered page, a broken tree or index
    "document-unreadable",  # a document's content, conflicts or base do not decode
    "document-mistyped",  # the column `type` says something else than the content
    "row-unreadable",  # a row holds what no page could have brought
    "change-unmarked",  # a document or row differs from what was synced, and nothing says so
    "log-inconsistent",  # log items misnamed, without their document or page, or not the set the head signs for
    "index-wrong",  # an index over documents does not follow from them
    "derived-wrong",  # a projection does not follow from documents and rows
    "blob-damaged",  # the sealed bytes here are not those of the reference, are cut short, or do not open
    "blob-file-lost",  # the row of a blob names a file that is not there
    "blob-mismatched",  # a row and the blob kept here disagree about hash or size
    "blob-unlisted",  # a row names a blob that is neither here nor on the list of those to fetch
    "file-unnamed",  # a file in the blob folder which nothing names
    # against the provider
    "item-missing",  # the provider does not show an item that this device has
    "item-unknown",  # it shows one which this device does not have at the same head
    "item-older",  # it shows an item in another version, or with other bytes
    "item-forged",  # an item or head does not open, or is not signed
    "blob-missing",  # a blob that rows name is not at the provider
    "blob-differs",  # it has other bytes under the id of one
    "head-moved",  # the log did not stand still long enough to compare it
]
Mend = Literal["no", "mended", "asked-for", "sent-again"]

MOST_LISTED = 200  # of one class: the others are counted

Progress = Callable[
    [str, int, int], None
]  # what is looked at, how many of them, of how many (0: not known)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. `what` is an id for programs; `mended` says what `repair` did about it."""

    kind: Kind
    what: str
    sentence: str
    mended: Mend = "no"

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "what": self.what,
            "sentence": self.sentence,
            "mended": self.mended,
        }


@dataclass
class Report:
    """All findings, how many of each class there are, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    notes: dict[str, int] = field(default_factory=dict)
    provider: str = "not asked"  # or "checked", or why it could not be

    @property
    def clean(self) -> bool:
        return not self.counts

    def add(self, kind: Kind, what: str, sentence: str, mended: Mend = "no") -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_LISTED:
            self.findings.append(Finding(kind, what, sentence, mended))

    @property
    def left(self) -> int:
        """How many findings nothing was done about."""
        mended = sum(finding.mended != "no" for finding in self.findings)
        return self.counts.total() - mended

    def as_json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "left": self.left,
            "findings": [finding.as_json() for finding in self.findings],
            "counts": dict(self.counts),
            "checked": dict(self.checked),
            "notes": dict(self.notes),
            "provider": self.provider,
        }


def no_progress(what: str, done: int, total: int) -> None:
    """For those who do not want to know."""
