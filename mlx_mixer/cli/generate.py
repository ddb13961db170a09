"""`mlx-mixer generate`."""

import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.output import narrate, print_foreign, print_json
from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings

if TYPE_CHECKING:
    from mlx_mixer.text import GenerationChunk

_DEFAULTS = SamplingSettings()
# A first word that takes longer than this is waiting for MLX to compile.
PATIENCE_SECONDS = 2.0
FIRST_RUN = "[the first run compiles what this machine needs, about 15 seconds ...]"


@click.command()
@click.argument("text", required=False)
@click.option("-p", "--prompt", help="Text to continue; '-' reads standard input. Piped input is put after it.")
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option("-n", "--max-tokens", type=int, default=_DEFAULTS.max_tokens, show_default=True, help="Most new tokens.")
@click.option(
    "--temperature", type=float, default=_DEFAULTS.temperature, show_default=True, help="0 takes the likeliest."
)
@click.option("--top-p", type=float, default=_DEFAULTS.top_p, show_default=True, help="Keep this share of probability.")
@click.option(
    "--top-k", type=int, default=_DEFAULTS.top_k, show_default=True, help="Keep this many tokens; 0 keeps all."
)
@click.option("--min-p", type=float, default=_DEFAULTS.min_p, show_default=True, help="Least share of the likeliest.")
@click.option(
    "--repetition-penalty", type=float, default=_DEFAULTS.repetition_penalty, show_default=True, help="1 is off."
)
@click.option("--seed", type=int, help="Repeat a continuation exactly.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def generate(text: str | None, prompt: str | None, model_name: str | None, as_json: bool, **settings: Any) -> None:
    r"""Continue a text.

    The continuation goes to standard output as it is written, counts to standard error. Ctrl+C stops and keeps what
    was written.

    \b
    mlx-mixer generate --prompt "The package manager" --max-tokens 40
    git log -1 | mlx-mixer generate --prompt "Summary:" --json
    """
    chosen = SamplingSettings(**settings)
    given = _prompt(text, prompt)
    # MLX and mlx-lm are imported once the arguments are known to be right.
    from mlx_mixer.checkpoint import load
    from mlx_mixer.text import stream_generate

    model, tokenizer = load(model_name or "default")
    chunks: list[GenerationChunk] = []
    interrupted = False
    patience = threading.Timer(PATIENCE_SECONDS, narrate, [FIRST_RUN])
    patience.daemon = True
    patience.start()
    try:
        for chunk in stream_generate(model, tokenizer, given, settings=chosen):
            patience.cancel()
            if chunks and chunk.window_slides > chunks[-1].window_slides:
                narrate(f"[the window of {chunk.context_length} tokens is full: the oldest text is no longer seen]")
            chunks.append(chunk)
            if not as_json:
                print_foreign(chunk.text, newline=False)
                sys.stdout.flush()
    except KeyboardInterrupt:
        interrupted = True
    patience.cancel()
    if as_json:
        print_json(_summary(chunks, chosen, model_name, interrupted))
    elif chunks:
        click.echo()
        narrate(_counts(chunks[-1], interrupted))
    if interrupted:
        raise KeyboardInterrupt


def _prompt(text: str | None, prompt: str | None) -> str:
    if text is not None and prompt is not None:
        raise UsageError("give the text either as an argument or with --prompt, not both")
    given = text if prompt is None else prompt
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    if given is None and not piped:
        raise UsageError('nothing to continue; try: mlx-mixer generate --prompt "The package manager"')
    parts = [part for part in ("" if given == "-" else given, piped) if part]
    return "\n".join(parts)


def _summary(
    chunks: "list[GenerationChunk]", settings: SamplingSettings, model_name: str | None, interrupted: bool
) -> dict[str, Any]:
    last = chunks[-1] if chunks else None
    return {
        "text": "".join(chunk.text for chunk in chunks),
        "token_ids": [chunk.token_id for chunk in chunks if chunk.token_id is not None],
        "finish_reason": "cancelled" if interrupted or last is None else last.finish_reason,
        "prompt_tokens": last.prompt_tokens if last else 0,
        "generation_tokens": last.generation_tokens if last else 0,
        "tokens_per_second": round(last.tokens_per_second, 1) if last else 0.0,
        "window_slides": last.window_slides if last else 0,
        "context_length": last.context_length if last else None,
        "model": model_name or "default",
        "settings": asdict(settings),
    }


def _counts(last: "GenerationChunk", interrupted: bool) -> str:
    reasons = {
        "stop": "the text ended",
        "length": "the token limit was reached",
        "cancelled": "stopped",
        None: "stopped",
    }
    reason = "interrupted" if interrupted else reasons[last.finish_reason]
    return f"[{last.generation_tokens} tokens, {last.tokens_per_second:.0f} per second; {reason}]"
