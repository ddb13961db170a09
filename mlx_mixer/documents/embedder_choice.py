"""Which model embeds a library, and which one is taking over from it.

Both stand in the library itself, so that every program that opens it agrees, and so that the change from one to the
other is a transaction beside the vectors it depends on: it happens once the new model has a vector for every passage.
"""

import json
from dataclasses import asdict, dataclass

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.embedder_names import BUNDLED as BUNDLED
from mlx_mixer.documents.meaning import pending_chunks
from mlx_mixer.documents.settings import get_setting, set_setting

_CURRENT, _NEXT = "embedder", "next_embedder"


@dataclass(frozen=True)
class Incoming:
    """A model that is taking over.

    Attributes:
        name: As `mlx_mixer.checkpoint.resolve_model` takes it.
        fingerprint: Of its embedder.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True)
class EmbedderChoice:
    """The models of a library.

    Attributes:
        current: Name of the one whose vectors are searched, as `mlx_mixer.checkpoint.resolve_model` takes it.
        incoming: The one that is taking over, if any.
    """

    current: str = BUNDLED
    incoming: Incoming | None = None


def stored_choice(db: Database) -> EmbedderChoice:
    """Read which models a library has; the bundled one, where nobody chose."""
    incoming = get_setting(db, _NEXT)
    return EmbedderChoice(
        get_setting(db, _CURRENT) or BUNDLED, None if incoming is None else Incoming(**json.loads(incoming))
    )


def store_incoming(db: Database, incoming: Incoming | None) -> None:
    """Begin to take over, or give it up; the caller holds a write transaction."""
    if incoming is None:
        db.execute("DELETE FROM settings WHERE key = ?", [_NEXT])
    else:
        set_setting(db, _NEXT, json.dumps(asdict(incoming)))


def finish_taking_over(db: Database) -> bool:
    """Let the incoming model be the current one if it has a vector for every passage; inside a write transaction.

    Returns:
        Whether it is the current one from now on.
    """
    incoming = stored_choice(db).incoming
    if incoming is None or pending_chunks(db, incoming.fingerprint):
        return False
    set_setting(db, _CURRENT, incoming.name)
    store_incoming(db, None)
    return True
