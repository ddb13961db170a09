"""The one exception of the readers for a file that is not what it should be."""


class DamagedError(Exception):
    """A part that is missing, cannot be unpacked or breaks the format's rules; the message says so to people."""
