"""What a person can put right."""


class UserError(ValueError):
    """A wrong setting, file or place. The message is one line: what, where, what is accepted; a command ends with exit code 2.

    Any other exception is a fault of this program, and a command that meets one says so.
    """
