"""What the validations of each kind of run measure, in words for people."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """What a validation measures.

    Attributes:
        name: For people, with its unit.
        factor: From the score, of which higher is better, to what the name says.
        digits: Digits after the point.
    """

    name: str
    factor: float
    digits: int

    def text(self, score: float) -> str:
        """A score for people."""
        return f"{self.factor * score:.{self.digits}f} {self.name}"


_SCORE = Measure("validation score", 1.0, 4)
_MEASURES = {
    "language": Measure("bits per byte of held-out text", -1.0, 4),
    "autoencoder": Measure("nats on held-out text", -1.0, 4),
    "retrieval": Measure("% of held-out queries with the right passage first", 100.0, 1),
    "reranker": Measure("mean reciprocal rank of the right passage for held-out queries", 1.0, 3),
}


def measure_of(kind: str) -> Measure:
    """The measure of a kind of run, as its settings name it."""
    return _MEASURES.get(kind, _SCORE)
