"""The type of a connection to the library's file."""

import sqlite3


class Database(sqlite3.Connection):
    """A connection as `sqlite3` makes them, except that what is remembered about it can be held weakly."""
