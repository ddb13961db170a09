"""The weight of meaning in one library, as the last check of it decided; kept beside the documents, per embedder."""

import json
from dataclasses import asdict, dataclass

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.fusion import FusionWeights

_KEY = "meaning_scale:"


@dataclass(frozen=True)
class Gate:
    """What a check decided.

    Attributes:
        scale: Times the shipped weights of meaning; 0 leaves it out.
        items: How many known items the check had.
        checked: Unix time of the check.
    """

    scale: float
    items: int
    checked: int


def stored_gate(db: Database, fingerprint: str) -> Gate | None:
    """Return what the last check with an embedder decided; None before the first, or after one that was forgotten."""
    row = db.execute("SELECT value FROM settings WHERE key = ?", [_KEY + fingerprint]).fetchone()
    return Gate(**json.loads(row[0])) if row else None


def store_gate(db: Database, fingerprint: str, gate: Gate | None) -> None:
    """Store a decision, or forget it; the caller holds a write transaction."""
    key = _KEY + fingerprint
    if gate is None:
        db.execute("DELETE FROM settings WHERE key = ?", [key])
    else:
        db.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", [key, json.dumps(asdict(gate))])


def gated_weights(db: Database, fingerprint: str | None) -> FusionWeights:
    """The weights of a library's searches."""
    gate = None if fingerprint is None else stored_gate(db, fingerprint)
    return FusionWeights() if gate is None else FusionWeights().scaled(gate.scale)
