"""The one exception that means: what was passed in cannot be analysed."""


class InputError(ValueError):
    """Bad input. The message says what was wrong, where, and what to do; the command line exits with status 2."""
