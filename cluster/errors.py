"""What ends a submission, for people."""

from data.system.errors import UserError


class SubmitError(UserError):
    """A job that could not be sent, found or followed, in one line."""
