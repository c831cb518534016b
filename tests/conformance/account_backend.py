"""What every implementation of `leap.mail.contract.AccountBackend` must do, by topic in the modules beside this one.

Use: a class of tests which inherits `AccountBackendSuite` and has an async fixture `backend`, a new account with
nothing in it. Accounts which need time to announce changes (over a socket) get `PATIENCE` seconds.
"""

from __future__ import annotations

from tests.conformance.account_annotations import AnnotationSuite
from tests.conformance.account_changes import ChangeSuite
from tests.conformance.account_contents import ContentSuite
from tests.conformance.account_flags import FlagSuite
from tests.conformance.account_mailboxes import MailboxSuite
from tests.conformance.account_making import BROKEN, ENCODED, PATIENCE, PLAIN
from tests.conformance.account_reading import ReadingSuite
from tests.conformance.account_search import SearchSuite
from tests.conformance.account_sending import SendingSuite
from tests.conformance.account_transfer import TransferSuite

__all__ = ["BROKEN", "ENCODED", "PATIENCE", "PLAIN", "AccountBackendSuite"]


class AccountBackendSuite(
    MailboxSuite,
    ContentSuite,
    ChangeSuite,
    FlagSuite,
    TransferSuite,
    SearchSuite,
    SendingSuite,
    AnnotationSuite,
    ReadingSuite,
):
    """Inherit it and give it a fixture `backend`."""
