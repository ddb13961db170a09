"""The one exception for a file that is left out on purpose."""


class UnreadableError(Exception):
    """A file that is not read into the library; the message is the reason shown to the user."""
