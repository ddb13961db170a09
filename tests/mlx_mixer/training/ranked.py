"""One of several processes that train together: `python ranked.py KIND HAPPENS DATA OUT [--resume]`.

KIND is "language", "autoencoder", "reranker" or "retrieval"; "bags" is retrieval by token vectors alone. HAPPENS is
"nothing", or what happens at step 5 to the second process: "killed", "fails", or "stops" for Ctrl+C. A process on its
own takes the batch of two.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlx_mixer.errors import MixerError
from mlx_mixer.training import loop
from mlx_mixer.training.autoencoder_run import AutoencoderRun, AutoencoderSizes, train_autoencoder
from mlx_mixer.training.language_run import train_language
from mlx_mixer.training.loop import Batch, LoopSettings
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.ranks import current_ranks
from mlx_mixer.training.reranker_run import RerankerRun, train_reranker
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
from tests.mlx_mixer.training.runs import language_run

STEPS = 9


def run(kind: str, data: Path, out: Path, *, resume: bool) -> None:
    dials = {"steps": STEPS, "checkpoint_every": 2, "warmup_steps": 2, "learning_rate": 3e-3, "validate_every": 3}
    if kind == "language":
        language = language_run(data, out, **dials)
        tokens = 256 if current_ranks().size == 2 else 512
        language = replace(language, tokens_per_batch=tokens, valid=[data / "pairs.jsonl"])
        train_language(language, resume=resume, report=lambda _: None, narrate=print)
        return
    if kind == "autoencoder":
        sizes = AutoencoderSizes(
            hidden_size=16, num_layers=1, num_decoder_layers=1, context_length=8, intermediate_size=16
        )
        autoencoder = AutoencoderRun(
            data=[data / "pairs.jsonl"],
            out=out,
            tokenizer=data / "tokenizer",
            sizes=sizes,
            batch_size=8 if current_ranks().size == 2 else 16,
            loop=LoopSettings(**dials),  # type: ignore[arg-type]
        )
        train_autoencoder(autoencoder, resume=resume, report=lambda _: None, narrate=print)
        return
    if kind == "reranker":
        reranker = RerankerRun(
            pairs=[data / "pairs.jsonl"],
            out=out,
            held_out=0.3,
            candidates=6,
            num_layers=1,
            mixing_size=8,
            intermediate_size=16,
            batch_size=4 if current_ranks().size == 2 else 8,
            loop=LoopSettings(**dials),  # type: ignore[arg-type]
        )
        train_reranker(reranker, resume=resume, report=lambda _: None, narrate=print)
        return
    retrieval = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        valid=[data / "pairs.jsonl"],
        init=data / "model",
        out=out,
        through_blocks=kind == "retrieval",
        tokens_per_chunk=200,
        drawing=PairSettings(batch_size=8 if current_ranks().size == 2 else 16),
        loop=LoopSettings(**dials),  # type: ignore[arg-type]
    )
    train_retrieval(retrieval, resume=resume, report=lambda _: None, narrate=print)


def disturb(happens: str) -> None:
    """Let something happen to the second process as it makes the batch of step 5."""
    original = loop._run_step

    def disturbed(step: object, batch_at: Callable[[int], tuple[Batch, int]], *others: object) -> loop.StepReport:
        def batch_of(number: int) -> tuple[Batch, int]:
            if number == 4:
                happen(happens)
            return batch_at(number)

        return original(step, batch_of, *others)  # type: ignore[arg-type]

    loop._run_step = disturbed


def happen(happens: str) -> None:
    match happens:
        case "fails":
            raise MixerError("the batch cannot be made")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stops":
            os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    kind, happens, data, out, *resume = sys.argv[1:]
    if current_ranks().rank == 1:
        disturb(happens)
    try:
        run(kind, Path(data), Path(out), resume=bool(resume))
    except MixerError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("KeyboardInterrupt")
