"""A second look at the best candidates, by a retrieval mixer that sees them all beside the query."""

from typing import TYPE_CHECKING

import numpy as np

from mlx_mixer.documents.embedder_choice import stored_choice
from mlx_mixer.documents.embedder_names import BUNDLED
from mlx_mixer.errors import UnsupportedModelError
from mlx_mixer.model_configs.retrieval import EMBEDDER_FINGERPRINT, EMBEDDER_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_mixer.documents.candidates import Neighbourhood
    from mlx_mixer.documents.search import Candidate
    from mlx_mixer.documents.vectors import VectorIndex
    from mlx_mixer.models.retrieval import RetrievalMixer

MOST_RERANKED = 50


class Reranker:
    """Orders candidates by the scores of a retrieval mixer, which may start from the fused scores.

    The best candidates that have a vector go in, in their fused order; they come out in the order of the scores, in the
    places they held among the others. The fused scores stay with the places, so that they still fall from hit to hit.

    Args:
        model: A retrieval mixer for the vectors of the library's embedder.
        name: What to call it in messages.
    """

    def __init__(self, model: "RetrievalMixer", name: str = "the re-ranker") -> None:
        self._model, self._name = model, name
        self.dims = model.config.hidden_size
        self.most = min(MOST_RERANKED, model.config.context_length - 1)

    def __call__(self, ranked: list["Candidate"], near: "Neighbourhood") -> list["Candidate"]:
        """Return the candidates in a new order; as they are where meaning takes no part.

        Raises:
            UnsupportedModelError: If the model was made for the vectors of another embedder.
        """
        if near.index is None or near.vector is None:
            return ranked
        self._check(near, near.index)
        vectors = near.index.vectors([candidate.place for candidate in ranked[: MOST_RERANKED * 2]])
        positions = [i for i, candidate in enumerate(ranked) if candidate.place in vectors][: self.most]
        if len(positions) < 2:
            return ranked
        import mlx.core as mx  # the library is used without MLX as well

        rows = np.stack([near.vector, *(vectors[ranked[i].place] for i in positions)])
        fused = np.array([[ranked[i].score for i in positions]], np.float32)
        given = [mx.array(fused)] if self._model.config.takes_scores else []
        scores = np.array(self._model(mx.array(rows)[None], *given)[0].astype(mx.float32))
        result = list(ranked)
        for position, chosen in zip(positions, np.argsort(-scores, kind="stable"), strict=True):
            result[position] = _moved(ranked[positions[int(chosen)]], ranked[position].score)
        return result

    def _check(self, near: "Neighbourhood", index: "VectorIndex") -> None:
        provenance = self._model.config.provenance
        hints = {} if provenance is None else provenance.hints
        # One that was converted from elsewhere does not say what it is for; then the length has to do.
        fingerprint = hints.get(EMBEDDER_FINGERPRINT)
        if index.dims == self.dims and fingerprint in (None, index.fingerprint):
            return
        own = hints.get(EMBEDDER_NAME, "an embedder")
        which = f"{self.dims} dimensions" if fingerprint is None else f"{_short(fingerprint)}, {self.dims} dimensions"
        used = stored_choice(near.db).current
        option = "" if used == BUNDLED else f" --embedder {used}"
        raise UnsupportedModelError(
            f"{self._name} was made for the vectors of {own} ({which}), and this library uses {used} "
            f"({_short(index.fingerprint)}, {index.dims} dimensions); leave out the re-ranker, or train one for these: "
            f"mlx-mixer train reranker PAIRS -o DIR{option}"
        )


def load_reranker(path: "str | Path") -> Reranker:
    """Load a retrieval mixer to re-rank with.

    Args:
        path: See `mlx_mixer.checkpoint.resolve_model`.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If it is of another kind.
    """
    from mlx_mixer.checkpoint import load_model, resolve_model
    from mlx_mixer.models.retrieval import RetrievalMixer

    model = load_model(resolve_model(path))
    if not isinstance(model, RetrievalMixer):
        raise UnsupportedModelError(
            f"{path} is a {model.config.model_type}, which cannot re-rank; choose a retrieval model"
        )
    return Reranker(model, str(path))


def _short(fingerprint: str) -> str:
    return fingerprint[:12]


def _moved(candidate: "Candidate", score: float) -> "Candidate":
    return type(candidate)(**{**vars(candidate), "score": score})
