r"""Learning to find from a teacher's vectors of the same texts.

With :math:`t_{ij}` the cosine of the teacher's vectors of query i and passage j over a temperature, and
:math:`s_{ij}` the student's,

.. math:: \mathcal L = \frac{1}{2} \left( \frac{1}{B} \sum_i \sum_j p_{ij} (\log p_{ij} - \log q_{ij}) + \frac{1}{B}
    \sum_j \sum_i p'_{ij} (\log p'_{ij} - \log q'_{ij}) \right)

where :math:`p_i = \mathrm{softmax}_j(t_{ij})` and :math:`q_i = \mathrm{softmax}_j(s_{ij})` run over the passages of a
batch, and :math:`p'_j, q'_j` over its queries: the mean Kullback-Leibler divergence of the student from the teacher, in
both directions. The teacher says how close the wrong answers are, which a label does not.

Source: https://arxiv.org/abs/1503.02531 (Hinton et al., Distilling the Knowledge in a Neural Network), on in-batch
similarities.
"""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.data import Pair
from mlx_mixer.training.pair_batches import DrawnPairs
from mlx_mixer.training.unit_rows import unit_rows

Vectors = npt.NDArray[np.float32]
SUFFIXES = (".safetensors", ".npz")
_NAMES = ("passages", "queries")
# Of what the teacher does not know; finite, so that its gradient is 0 and not a number that is none.
_NO_SCORE = -1e9


def divergence(student: mx.array, teacher: mx.array, known: mx.array) -> mx.array:
    """The loss above.

    Args:
        student: ``(B, P)`` cosines over their temperature; the first B passages answer the queries in order.
        teacher: ``(B, P)``, the same of the teacher.
        known: ``(B, P)``, whether the teacher has vectors of both; the rest is left out of both softmaxes.

    Returns:
        A float32 scalar in nats, a mean over the queries and passages that are taught; 0 if none is.
    """
    count = student.shape[0]
    by_passage = (side[:, :count].T for side in (student, teacher, known))
    return (_rows_apart(student, teacher, known) + _rows_apart(*by_passage)) / 2


def _rows_apart(student: mx.array, teacher: mx.array, known: mx.array) -> mx.array:
    student, teacher = (mx.where(known, side, _NO_SCORE) for side in (student, teacher))
    log_p, log_q = (side - mx.logsumexp(side, axis=1, keepdims=True) for side in (teacher, student))
    by_row = (mx.exp(log_p) * mx.where(known, log_p - log_q, 0)).sum(axis=1)
    taught = known.any(axis=1)
    return (by_row * taught).sum() / mx.maximum(taught.sum(), 1)


class Teacher:
    """A teacher's unit vectors of the passages and queries of some pairs; zeros where it has none.

    Args:
        passages: ``(N, D)``, one of each pair in the order of `read_pairs`.
        queries: ``(M, D)``, those of all queries of the first pair, then of the second, and so on.
        temperature: Divides the cosines.
    """

    def __init__(self, passages: Vectors, queries: Vectors, temperature: float) -> None:
        self._passages, self._queries, self._temperature = passages, queries, temperature

    def judge(self, drawn: DrawnPairs) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Scores ``(B, P)`` of a batch's queries against its passages, and ``(B, P)`` which of them it knows."""
        passages = self._passages[drawn.records]
        # A span of a passage is no query that the teacher has seen.
        queries = self._queries[drawn.asked] * (drawn.asked >= 0)[:, None]
        return queries @ passages.T / self._temperature, np.outer(queries.any(axis=1), passages.any(axis=1))


def load_teacher(path: Path, pairs: Sequence[Pair], temperature: float) -> Teacher:
    """Read a teacher; see `read_vectors`.

    Args:
        path: Its file.
        pairs: The pairs its vectors are of.
        temperature: Divides the cosines.
    """
    return Teacher(*read_vectors(path, pairs), temperature)


def read_vectors(path: Path, pairs: Sequence[Pair]) -> tuple[Vectors, Vectors]:
    """Read vectors that another encoder made of the texts of some pairs.

    Args:
        path: A `.safetensors` or `.npz` file that holds `passages` ``(N, D)`` and `queries` ``(M, D)`` of any float
            dtype; see `Teacher` for the order. They need not be of length 1; a row of zeros stands for a text that the
            teacher has not seen.
        pairs: The pairs they are of.

    Returns:
        Passages ``(N, D)`` and queries ``(M, D)``, each of length 1 or zeros.

    Raises:
        ModelNotFoundError: If there is no such file.
        MixerError: If it is damaged, or does not fit the pairs.
    """
    arrays = _read(path)
    for name in _NAMES:
        if name not in arrays:
            raise MixerError(f"{path} holds no array {name!r}; a teacher's file holds {' and '.join(_NAMES)}")
    passages, queries = (np.asarray(arrays[name]) for name in _NAMES)
    for name, vectors, count in (
        ("passages", passages, len(pairs)),
        ("queries", queries, sum(len(pair.queries) for pair in pairs)),
    ):
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
            raise MixerError(
                f"{path}: {name} is a {vectors.dtype} array of shape {vectors.shape}; vectors are floats (count, size)"
            )
        if len(vectors) != count:
            raise MixerError(
                f"{path} holds {len(vectors):,} {name} and the pairs have {count:,}; make the teacher's vectors from "
                "the same files in the same order"
            )
    if passages.shape[1] != queries.shape[1]:
        raise MixerError(f"{path}: passages have {passages.shape[1]} values and queries {queries.shape[1]}")
    return _unit(passages, path), _unit(queries, path)


def save_teacher(path: Path, passages: Vectors, queries: Vectors) -> None:
    """Write a teacher's vectors in float16, as `load_teacher` reads them, all or nothing.

    Raises:
        MixerError: If the file's name does not end in `.safetensors`.
    """
    if path.suffix != ".safetensors":
        raise MixerError(f"{path} does not end in .safetensors, which is what is written")
    partial = path.with_name(f".{path.name}.partial.safetensors")
    arrays = {name: mx.array(side.astype(np.float16)) for name, side in zip(_NAMES, (passages, queries), strict=True)}
    try:
        mx.save_safetensors(str(partial), arrays)
        write_atomically(path, partial.read_bytes())
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    if not path.is_file():
        raise ModelNotFoundError(f"there is no file {path} with a teacher's vectors")
    if path.suffix not in SUFFIXES:
        raise MixerError(f"{path} is no teacher's file; give {' or '.join(SUFFIXES)}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        loaded = mx.load(str(path))
        assert isinstance(loaded, dict)
        return {name: np.array(array.astype(mx.float32)) for name, array in loaded.items()}
    except Exception as error:  # numpy's, zipfile's and MLX's own for a damaged file
        raise MixerError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _unit(vectors: npt.NDArray[np.generic], path: Path) -> Vectors:
    floats = vectors.astype(np.float32)
    if not np.isfinite(floats).all():
        raise MixerError(f"{path} holds values that are no numbers")
    return unit_rows(floats)
