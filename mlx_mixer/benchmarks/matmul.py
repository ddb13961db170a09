"""The matmul peak of this machine, with the BLAS in use and with the one MLX ships.

A process keeps the BLAS it started with, so each is measured in a process of its own: `python -m
mlx_mixer.benchmarks.matmul` prints the rates of one as JSON.
"""

import json
import os
import subprocess
import sys

import click
import mlx.core as mx

from mlx_mixer.benchmarks.timing import Figure, rates, summarise

SIZE = 1024
# The reference BLAS needs half a second for one product of this size.
ROUNDS = 5
PAIRS = 3


def matmul_gflops() -> list[float]:
    """Rates of a float32 product of two square matrices, in GFLOP/s."""
    left, right = mx.random.normal((SIZE, SIZE)), mx.random.normal((SIZE, SIZE))
    mx.eval(left, right)
    return rates(lambda: mx.eval(left @ right), 2 * SIZE**3 / 1e9, rounds=ROUNDS, warm_up=1)


def blas_figures() -> dict[str, Figure]:
    """Float32 matmul with MKL in front and without, and their ratio, measured alternately."""
    tuned: list[float] = []
    reference: list[float] = []
    for _ in range(PAIRS):
        tuned += _in_process({})
        reference += _in_process({"MLX_MIXER_BLAS": "reference"})
    ratios = [fast / slow for fast, slow in zip(tuned, reference, strict=True)]
    return {
        "matmul_float32": summarise(tuned, "GFLOP/s"),
        "matmul_float32_as_shipped": summarise(reference, "GFLOP/s"),
        "matmul_ratio": summarise(ratios, "x", ">= 10 on Linux x86-64"),
    }


def _in_process(environment: dict[str, str]) -> list[float]:
    command = [sys.executable, "-m", "mlx_mixer.benchmarks.matmul"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True, text=True)
    values: list[float] = json.loads(done.stdout)
    return values


if __name__ == "__main__":
    click.echo(json.dumps(matmul_gflops()))
