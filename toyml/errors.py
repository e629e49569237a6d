"""Errors that are the user's to mend: one line, no trace-back on the command line."""


class UserError(ValueError):
    """A setting, file or value that cannot be used; the message names it and the way out."""


class UnwrittenError(UserError):
    """A file could not be written: the disk is full, or the folder cannot be written to."""


class DivergedError(UserError):
    """The loss became NaN or infinite.

    Attributes:
        step: Number of updates done when the loss stopped being finite.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
