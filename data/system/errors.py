"""What a person can put right."""


class UserError(ValueError):
    """A wrong setting, file or place. The message is one line: what, where, what is accepted; a command ends with exit code 2.

    Any other exception is a fault of this program, and a command that meets one says so.
    """


class LaterError(UserError):
    """What a busy machine had no time for. Nothing is wrong, and the same command may go well later: exit code 75."""
