"""Next-token prediction as a task for contenders."""

import math
from typing import Any

import mlx.core as mx
from mlx import nn

from mlx_mixer.study.cells import Cells
from mlx_mixer.study.contenders import contenders
from mlx_mixer.study.race import Race, Task
from mlx_mixer.study.settings import StudySettings
from mlx_mixer.study.texts import Ids, TokenTexts, even_windows, window_batches
from mlx_mixer.training.cross_entropy import head_cross_entropy
from mlx_mixer.training.loop import Loss

# Of held-out text, for each figure.
HELD_OUT_TOKENS = 65536


def next_token_loss(model: Any, ids: mx.array) -> mx.array:  # a contender
    """Mean cross-entropy of positions 0 to L - 2 against the tokens that follow, in nats; ids ``(B, L)``."""
    hidden = model.hidden_states(ids)[:, :-1]
    return head_cross_entropy(hidden.reshape(-1, hidden.shape[-1]), model.head(), ids[:, 1:].reshape(-1))


def language_race(name: str, texts: TokenTexts, context_length: int, settings: StudySettings, cells: Cells) -> Race:
    """Both language models, trained to predict the next token."""
    rows = max(1, settings.tokens_per_batch // context_length)
    choose, report = (even_windows(part, context_length, HELD_OUT_TOKENS) for part in (texts.choose, texts.report))
    task = Task(
        name=name,
        loss=next_token_loss,
        batch_at=window_batches(texts.train, context_length, settings),
        choose=lambda model: mean_loss(next_token_loss, model, choose, rows),
        report=lambda model: mean_loss(next_token_loss, model, report, rows),
        flops=lambda model: rows * model.flops(context_length),
        comes_apart=True,
    )
    return Race(task, contenders(settings, context_length), settings, cells)


def mean_loss(loss: Loss, model: nn.Module, windows: Ids, rows: int) -> float:
    """Mean of a loss over windows ``(N, L)``, so many at a time."""
    total = 0.0
    for start in range(0, len(windows), rows):
        chunk = windows[start : start + rows]
        total += float(loss(model, mx.array(chunk))) * len(chunk)
    return total / len(windows)


def bits_per_byte(nats_per_token: float, texts: TokenTexts) -> float:
    """The same loss in a unit that does not depend on the tokenizer."""
    return nats_per_token / math.log(2) / texts.bytes_per_token
