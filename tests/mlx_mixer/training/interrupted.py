"""A run in a process of its own, which something happens to: `python interrupted.py KIND HAPPENS DATA OUT [--resume]`.

KIND is "language", "accumulated" or "retrieval". HAPPENS is "nothing", "killed" or "interrupted" at step 17, or "full":
no file may then grow beyond what is left of 60 kB.
"""

import os
import resource
import signal
import sys
from pathlib import Path

from mlx_mixer.errors import MixerError
from mlx_mixer.training.language_run import train_language
from mlx_mixer.training.loop import LoopSettings, StepReport
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
from tests.mlx_mixer.training.runs import language_run

LOOP = {"steps": 30, "checkpoint_every": 7, "warmup_steps": 5, "learning_rate": 3e-3}
STEP = 17


def run(kind: str, happens: str, data: Path, out: Path, *, resume: bool) -> None:
    def report(entry: StepReport) -> None:
        if entry.step == STEP and happens != "nothing":
            if happens == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            else:
                os.kill(os.getpid(), {"killed": signal.SIGKILL, "interrupted": signal.SIGINT}[happens])

    if kind == "retrieval":
        retrieval = RetrievalRun(
            pairs=[data / "pairs.jsonl"],
            init=data / "model",
            out=out,
            through_blocks=True,
            drawing=PairSettings(batch_size=16),
            loop=LoopSettings(**LOOP),  # type: ignore[arg-type]
        )
        train_retrieval(retrieval, resume=resume, report=report, narrate=lambda _: None)
    else:
        accumulate = 3 if kind == "accumulated" else 1
        language = language_run(data, out, accumulate=accumulate, validate_every=5, **LOOP)
        train_language(language, resume=resume, report=report, narrate=lambda _: None)


if __name__ == "__main__":
    kind, happens, data, out, *resume = sys.argv[1:]
    try:
        run(kind, happens, Path(data), Path(out), resume=bool(resume))
    except MixerError as error:
        sys.exit(f"{type(error).__name__}: {error}")
