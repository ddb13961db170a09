"""What SQLite's errors mean to a user: one clear line, and what to do."""

import shutil
import sqlite3
from pathlib import Path

from mlx_mixer.errors import LibraryError

# A damaged schema can make SQLite's message about it undecodable, which Python then reports instead.
FAILURES = (sqlite3.Error, UnicodeDecodeError)
_SIGNS_OF_DAMAGE = ("malformed", "not a database", "database corruption", "Could not decode")


def failure(path: Path, error: Exception) -> LibraryError:
    """Make one clear line of an error of SQLite in an open library."""
    if _is_damage(error):
        return LibraryError(f"the library {path} is damaged ({error}); mend it with: mlx-mixer docs repair")
    hint = ""
    if "full" in str(error) or "disk I/O" in str(error):
        hint = f" ({shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free)"
    return LibraryError(f"the library {path} failed: {error}{hint}; what was committed before is kept")


def cannot_open(path: Path, error: Exception) -> LibraryError:
    hint = "; mend it with: mlx-mixer docs repair" if _is_damage(error) else ""
    return LibraryError(f"cannot open the library {path}: {error}{hint}")


def _is_damage(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or any(sign in str(error) for sign in _SIGNS_OF_DAMAGE)
