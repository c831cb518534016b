"""Mail from this provider's own users: logged in, under their own address, to anywhere with a route."""

from leap.provider.submission.handler import SubmissionHandler, submission_config

__all__ = ["SubmissionHandler", "submission_config"]
