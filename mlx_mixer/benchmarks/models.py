"""How fast a model writes and embeds here."""

from pathlib import Path

import mlx.core as mx

from mlx_mixer.benchmarks.timing import Figure, rates, summarise
from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.generation import generate_tokens
from mlx_mixer.models.language import LanguageMixer

DECODED_TOKENS = 64
PASSAGES = 32
PASSAGE = "The package manager keeps a list of what is installed and fetches what is missing from the archive. " * 8


def model_figures(path: Path) -> dict[str, Figure]:
    """Prefill, decode and embedding rates of one model folder, in float32 on a CPU."""
    model = load_language_model(path)
    embedder = load_embedder(path)
    length = model.config.context_length
    ids = mx.random.randint(0, model.config.vocab_size, (1, length))
    texts = [f"{number} {PASSAGE}" for number in range(PASSAGES)]
    tokens = sum(embedder.count_tokens(texts))
    return {
        "prefill": summarise(rates(lambda: mx.eval(model(ids)), length), "tokens/s"),
        "decode": summarise(rates(lambda: _decode(model), DECODED_TOKENS), "tokens/s"),
        "embed": summarise(rates(lambda: embedder.embed(texts), tokens), "tokens/s"),
        "embed_passages": summarise(rates(lambda: embedder.embed(texts), len(texts)), "passages/s"),
    }


def _decode(model: LanguageMixer) -> None:
    steps = generate_tokens(model, [1], sampler=lambda logprobs: mx.argmax(logprobs, axis=-1))
    for _ in range(DECODED_TOKENS):
        next(steps)
