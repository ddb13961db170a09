"""Two processes on one machine train as one with the doubled batch, and end together whatever happens to one.

They talk over MLX's ring on the loopback interface, as `mlx.launch -n 2 --backend ring` sets it up.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.training.language_run import train_language
from tests.mlx_mixer.training.runs import ignore, language_run, logged, same_course, write_data

ROOT = Path(__file__).parents[3]
# Two processes with a thread for each core would wait for each other's threads.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "MLX_DISABLE_COMPILE": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
MODULE = "tests.mlx_mixer.training.ranked"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    mx.disable_compile()
    folder = write_data(tmp_path_factory.mktemp("ranks") / "data")
    train_language(language_run(folder, folder / "model", steps=2), resume=False, report=ignore, narrate=ignore)
    yield folder
    mx.enable_compile()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(kind: str, happens: str, folders: Sequence[Path], out: Path, *resume: str) -> list[subprocess.Popen[str]]:
    """One process for each folder of data."""
    environment = {**os.environ, **ENVIRONMENT}
    if len(folders) > 1:
        hosts = folders[0] / f"hosts-{out.parent.name}.json"
        hosts.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in free_ports(len(folders))]))
        environment["MLX_HOSTFILE"] = str(hosts)
    return [
        subprocess.Popen(
            [sys.executable, "-m", MODULE, kind, happens, data, out, *resume],
            env={**environment, "MLX_RANK": str(rank)} if len(folders) > 1 else environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, data in enumerate(folders)
    ]


def end(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and standard error of each; a process that hangs is an error."""
    try:
        return [(process.wait(timeout=250), process.communicate()[1]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def run(kind: str, happens: str, folders: Sequence[Path], out: Path, *resume: str) -> list[tuple[int, str]]:
    return end(start(kind, happens, folders, out, *resume))


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """One process's language run with the doubled batch."""
    assert [code for code, _ in run("language", "nothing", [data], data / "whole")] == [0]
    return data / "whole"


def scores(folder: Path) -> list[float]:
    entries = map(json.loads, (folder / "training_log.jsonl").read_text().splitlines())
    return [entry["score"] for entry in entries if "score" in entry]


def test_two_processes_take_the_course_of_one_with_the_doubled_batch(data: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "out"
    for code, said in run("language", "nothing", [data, data], out):
        assert code == 0, said
    same_course(out, whole)
    assert logged(out, "tokens") == logged(whole, "tokens")
    np.testing.assert_allclose(scores(out), scores(whole), rtol=1e-5)
    assert not (out / "training").exists()


def test_a_failure_in_one_process_ends_all(data: Path, tmp_path: Path) -> None:
    (first_code, first), (second_code, second) = run("language", "fails", [data, data], tmp_path / "out")
    assert first_code == second_code == 1
    assert second == "MixerError: the batch cannot be made\n"
    assert "process 0 of 2 stops because process 1 failed; its message says why" in first


def test_when_one_process_is_killed_all_end_and_go_on_together(data: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "out"
    (first_code, first), (second_code, _) = run("language", "killed", [data, data], out)
    assert (first_code, second_code) == (1, -signal.SIGKILL)
    assert "process 0 of 2 lost touch with the others" in first
    assert logged(out, "step") == [1, 2, 3, 4]
    for code, said in run("language", "nothing", [data, data], out, "--resume"):
        assert code == 0, said
    same_course(out, whole)


def test_ctrl_c_in_one_process_stops_all_after_the_same_step(data: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "out"
    ends = run("language", "stops", [data, data], out)
    assert [code for code, _ in ends] == [1, 1]
    assert all(said.endswith("KeyboardInterrupt\n") for _, said in ends)
    assert logged(out, "step") == [1, 2, 3, 4, 5]
    # One process may go on with what two began; it takes their parts one after the other.
    resumed = [sys.executable, "-c", RESUME, str(data), str(out)]
    environment = {**os.environ, **ENVIRONMENT}
    subprocess.run(resumed, env=environment, cwd=ROOT, check=True, timeout=250)
    same_course(out, whole)


RESUME = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.mlx_mixer.training import ranked

accumulated = ranked.language_run
ranked.language_run = lambda data, out, **dials: accumulated(data, out, **dials, accumulate=2)
ranked.replace = lambda run, **changes: replace(run, **{**changes, "tokens_per_batch": 256})
ranked.run("language", Path(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


def test_machines_with_different_data_are_told_so(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    shutil.copytree(data, other)
    with (other / "pairs.jsonl").open("a") as file:
        file.write('{"passage": "One more passage about a network."}\n')
    (first_code, _), (second_code, second) = run("language", "nothing", [data, other], tmp_path / "out")
    assert first_code == second_code == 1
    assert re.search(r"process 1 has characters = \d+, where process 0 has \d+; every machine needs the same", second)


@pytest.mark.parametrize("kind", ["retrieval", "bags"])
def test_each_query_is_told_from_the_passages_of_all_processes(data: Path, tmp_path: Path, kind: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folders, out in (([data], one), ([data, data], two)):
        for code, said in run(kind, "nothing", folders, out):
            assert code == 0, said
    same_course(two, one, rtol=1e-4)
    np.testing.assert_allclose(scores(two), scores(one))


def test_an_autoencoder_takes_the_course_of_one_process_too(data: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folders, out in (([data], one), ([data, data], two)):
        for code, said in run("autoencoder", "nothing", folders, out):
            assert code == 0, said
    same_course(two, one)
    assert logged(two, "tokens") == logged(one, "tokens")
    np.testing.assert_allclose(scores(two), scores(one), rtol=1e-5)


def test_a_reranker_takes_the_course_of_one_process_too(data: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folders, out in (([data], one), ([data, data], two)):
        for code, said in run("reranker", "nothing", folders, out):
            assert code == 0, said
    same_course(two, one, without=["score.bias"])
    np.testing.assert_allclose(scores(two), scores(one))


def test_processes_go_on_with_the_vectors_that_the_first_one_kept(data: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert [code for code, _ in run("reranker", "nothing", [data], one)] == [0]
    assert [code for code, _ in run("reranker", "killed", [data, data], two)] == [1, -signal.SIGKILL]
    assert (two / "training" / "pairs.npz").exists()
    for code, said in run("reranker", "nothing", [data, data], two, "--resume"):
        assert code == 0, said
    same_course(two, one, without=["score.bias"])


def test_the_launcher_of_mlx_starts_the_command(data: Path, tmp_path: Path, whole: Path) -> None:
    """As documented: `mlx.launch -n 2 --backend ring -- mlx-mixer train language ...`."""
    launcher = Path(sys.executable).with_name("mlx.launch")
    sizes = ["--hidden-size", "16", "--layers", "1", "--context-length", "24", "--intermediate-size", "16"]
    dials = ["--steps", "9", "--warmup-steps", "2", "--learning-rate", "3e-3", "--validate-every", "3"]
    files = [str(data / "pairs.jsonl"), "--tokenizer", str(data / "tokenizer"), "--valid", str(data / "pairs.jsonl")]
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = subprocess.run(
        [
            *(launcher, "-n", "2", "--backend", "ring", "--starting-port", str(port)),
            *(part for name in ENVIRONMENT for part in ("--env", f"{name}={ENVIRONMENT[name]}")),
            "--",
            *(sys.executable, "-m", "mlx_mixer", "train", "language", *files, *sizes, *dials),
            *("--tokens-per-batch", "256", "--out", str(tmp_path / "out"), "--json"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert ended.returncode == 0, ended.stderr
    # The first process alone speaks.
    assert json.loads(ended.stdout)["steps"] == 9
    assert ended.stderr.count("step 9/9") == 1
    same_course(tmp_path / "out", whole)
