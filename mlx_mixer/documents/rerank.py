"""A second look at the best candidates, by a retrieval mixer that sees them all beside the query."""

from typing import TYPE_CHECKING

import numpy as np

from mlx_mixer.errors import UnsupportedModelError

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_mixer.documents.candidates import Neighbourhood
    from mlx_mixer.documents.search import Candidate
    from mlx_mixer.models.retrieval import RetrievalMixer

MOST_RERANKED = 50


class Reranker:
    """Orders candidates by the scores of a retrieval mixer.

    The best candidates that have a vector go in, in their fused order; they come out in the order of the scores, in the
    places they held among the others. The fused scores stay with the places, so that they still fall from hit to hit.

    Args:
        model: A retrieval mixer whose hidden size is the embedder's number of dimensions.
    """

    def __init__(self, model: "RetrievalMixer") -> None:
        self._model = model
        self.dims = model.config.hidden_size
        self.most = min(MOST_RERANKED, model.config.context_length - 1)

    def __call__(self, ranked: list["Candidate"], near: "Neighbourhood") -> list["Candidate"]:
        """Return the candidates in a new order; as they are where meaning takes no part.

        Raises:
            UnsupportedModelError: If the model was made for vectors of another length.
        """
        if near.index is None or near.vector is None:
            return ranked
        if near.index.dims != self.dims:
            raise UnsupportedModelError(
                f"the re-ranker takes vectors of {self.dims} dimensions and the embedder makes {near.index.dims}; "
                "choose a retrieval model that was trained on this embedder"
            )
        vectors = near.index.vectors([candidate.place for candidate in ranked[: MOST_RERANKED * 2]])
        positions = [i for i, candidate in enumerate(ranked) if candidate.place in vectors][: self.most]
        if len(positions) < 2:
            return ranked
        import mlx.core as mx  # the library is used without MLX as well

        rows = np.stack([near.vector, *(vectors[ranked[i].place] for i in positions)])
        scores = np.array(self._model(mx.array(rows)[None])[0].astype(mx.float32))
        result = list(ranked)
        for position, chosen in zip(positions, np.argsort(-scores, kind="stable"), strict=True):
            result[position] = _moved(ranked[positions[int(chosen)]], ranked[position].score)
        return result


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
    return Reranker(model)


def _moved(candidate: "Candidate", score: float) -> "Candidate":
    return type(candidate)(**{**vars(candidate), "score": score})
