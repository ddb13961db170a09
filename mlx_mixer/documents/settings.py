"""Small facts that the library keeps about itself."""

from mlx_mixer.documents.connection import Database

# Unix times.
LAST_CHECK = "last_check"
LAST_BACKUP = "last_backup"


def get_setting(db: Database, key: str) -> str | None:
    row = db.execute("SELECT value FROM settings WHERE key = ?", [key]).fetchone()
    return row[0] if row else None


def get_time(db: Database, key: str) -> int | None:
    value = get_setting(db, key)
    return int(value) if value is not None else None


def set_setting(db: Database, key: str, value: str | int) -> None:
    """Store a fact; inside a write transaction."""
    db.execute(
        "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, str(value)],
    )
