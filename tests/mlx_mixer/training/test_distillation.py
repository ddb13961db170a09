"""The teacher's part of the loss, and the files its vectors come from."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy

from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.data import Pair
from mlx_mixer.training.distillation import divergence, load_teacher, save_teacher
from mlx_mixer.training.pair_batches import DrawnPairs

PAIRS = [Pair("first", ("a", "b")), Pair("second", ("c",)), Pair("third", ("d", "e"))]


def vectors(count: int, seed: int, dims: int = 5) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def apart(teacher: npt.NDArray[np.float64], student: npt.NDArray[np.float64]) -> float:
    p, q = (np.exp(side) / np.exp(side).sum() for side in (teacher, student))
    return float((p * np.log(p / q)).sum())


def test_divergence_is_its_equation_over_what_the_teacher_knows() -> None:
    student, teacher = (np.random.default_rng(seed).standard_normal((4, 6)) for seed in (0, 1))
    queries, passages = np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 1, 0, 1], bool)
    by_query = [apart(teacher[i, passages], student[i, passages]) for i in (0, 2, 3)]
    by_passage = [apart(teacher[queries, j], student[queries, j]) for j in (0, 1, 3)]
    arrays = mx.array(student, mx.float32), mx.array(teacher, mx.float32), mx.array(np.outer(queries, passages))
    assert divergence(*arrays).item() == pytest.approx((np.mean(by_query) + np.mean(by_passage)) / 2, rel=1e-4)
    gradient = np.array(mx.grad(divergence)(*arrays))
    assert np.isfinite(gradient).all()
    assert not gradient[~np.outer(queries, passages)].any()
    assert divergence(arrays[0], arrays[1], mx.zeros((4, 6), mx.bool_)).item() == 0


@pytest.mark.parametrize("name", ["teacher.safetensors", "teacher.npz"])
def test_a_teacher_judges_by_cosines_in_the_order_of_the_pairs(tmp_path: Path, name: str) -> None:
    arrays = {"passages": 3 * vectors(3, 0).astype(np.float16), "queries": vectors(5, 1).astype(np.float16)}
    if name.endswith("npz"):
        np.savez(tmp_path / name, **arrays)
    else:
        safetensors.numpy.save_file(arrays, str(tmp_path / name))
    drawn = DrawnPairs([], [], records=np.array([2, 0, 1, 1]), asked=np.array([3, -1]))
    scores, known = load_teacher(tmp_path / name, PAIRS, 0.5).judge(drawn)
    assert known.tolist() == [[True] * 4, [False] * 4]
    query = arrays["queries"][3].astype(np.float64)
    for column, record in enumerate((2, 0, 1, 1)):
        passage = arrays["passages"][record].astype(np.float64)
        cosine = query @ passage / np.linalg.norm(query) / np.linalg.norm(passage)
        assert scores[0, column] == pytest.approx(cosine / 0.5, abs=1e-3)


def test_zeros_are_texts_that_the_teacher_has_not_seen(tmp_path: Path) -> None:
    passages, queries = vectors(3, 0), vectors(5, 1)
    passages[1] = queries[4] = 0
    np.savez(tmp_path / "t.npz", passages=passages, queries=queries)
    drawn = DrawnPairs([], [], records=np.array([2, 1, 0]), asked=np.array([4, 2, 0]))
    _, known = load_teacher(tmp_path / "t.npz", PAIRS, 0.05).judge(drawn)
    assert known.tolist() == [[False] * 3, [True, False, True], [True, False, True]]


def test_what_is_saved_is_what_another_library_reads(tmp_path: Path) -> None:
    save_teacher(tmp_path / "t.safetensors", vectors(3, 0), vectors(5, 1))
    found = safetensors.numpy.load_file(str(tmp_path / "t.safetensors"))
    np.testing.assert_array_equal(found["queries"], vectors(5, 1).astype(np.float16))
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]
    with pytest.raises(MixerError, match="does not end in"):
        save_teacher(tmp_path / "t.bin", vectors(3, 0), vectors(5, 1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"passages": vectors(3, 0)}, "no array 'queries'"),
        ({"passages": vectors(2, 0), "queries": vectors(5, 0)}, "holds 2 passages and the pairs have 3"),
        ({"passages": vectors(3, 0), "queries": vectors(3, 0)}, "holds 3 queries and the pairs have 5"),
        ({"passages": vectors(3, 0), "queries": vectors(5, 0, dims=4)}, "passages have 5 values and queries 4"),
        ({"passages": vectors(3, 0)[0], "queries": vectors(5, 0)}, "passages is a float32 array of shape"),
        ({"passages": np.ones((3, 5), int), "queries": vectors(5, 0)}, "passages is a int64 array"),
        ({"passages": vectors(3, 0) * np.nan, "queries": vectors(5, 0)}, "no numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.generic]], message: str
) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(MixerError, match=message) as error:
        load_teacher(tmp_path / "t.npz", PAIRS, 0.05)
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no file"):
        load_teacher(tmp_path / "t.npz", PAIRS, 0.05)
    for name in ("t.npz", "t.safetensors"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(MixerError, match="cannot be read"):
            load_teacher(tmp_path / name, PAIRS, 0.05)
    (tmp_path / "t.txt").write_bytes(b"nonsense")
    with pytest.raises(MixerError, match=r"give \.safetensors or \.npz"):
        load_teacher(tmp_path / "t.txt", PAIRS, 0.05)
