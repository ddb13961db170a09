"""`mlx-mixer chat`."""

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.conversation import Conversation, converse, is_conversation_possible, may_send
from mlx_mixer.cli.library import open_library
from mlx_mixer.cli.output import print_json
from mlx_mixer.cli.sources import prompt_json
from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings

if TYPE_CHECKING:
    from mlx_mixer.chat.prompt import Prompt

_DEFAULTS = SamplingSettings()


@click.command()
@click.argument("question", nargs=-1)
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option("--docs", is_flag=True, help="Answer from your documents, and show from which passages.")
@click.option("--in", "root", type=click.Path(), help="Only from documents at or below this path; implies --docs.")
@click.option("--words-only", is_flag=True, help="Look passages up without meaning.")
@click.option("--budget", type=click.IntRange(1), help="Most tokens of passages; what fits the model if omitted.")
@click.option("--anyway", is_flag=True, help="Answer even if nothing in the documents matches well.")
@click.option(
    "--show-prompt", is_flag=True, help="Show exactly what would be sent first; without a terminal, end there."
)
@click.option("-n", "--max-tokens", type=int, default=_DEFAULTS.max_tokens, show_default=True, help="Longest answer.")
@click.option("--temperature", type=float, default=0.7, show_default=True, help="0 takes the likeliest token.")
@click.option("--seed", type=int, help="Repeat an answer exactly.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: answer, sources, quotations.")
def chat(
    question: tuple[str, ...],
    model_name: str | None,
    docs: bool,
    root: str | None,
    words_only: bool,
    budget: int | None,
    anyway: bool,
    show_prompt: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    r"""Ask a question, or talk, with a model on this machine.

    One question comes from the arguments or standard input; without one, on a terminal, a conversation begins. With
    --docs the answer is made from numbered passages of your own files, and its quotations are looked up in them.
    Nothing is sent anywhere: "sent" means given to the model.

    \b
    mlx-mixer chat --docs how long should the dough rest
    git diff | mlx-mixer chat --model ~/models/instruct "what does this change do"
    """
    chosen = SamplingSettings(**settings)
    asked = _question(question)
    if asked is None and (as_json or not is_conversation_possible()):
        raise UsageError('nothing to answer; try: mlx-mixer chat --docs "how long should the dough rest"')
    # Before anything of Hugging Face's is imported: models come from this disk, and their makers are asked nothing.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from mlx_mixer.chat.writers import load_writer

    with ExitStack() as stack:
        conversation = Conversation(
            load_writer(model_name),
            lambda: stack.enter_context(open_library(words_only=words_only)),
            uses_documents=docs or root is not None,
            root=None if root is None else os.path.realpath(root),
            settings=chosen,
            budget=budget,
            anyway=anyway,
        )
        if asked is None:
            converse(conversation, show_prompt=show_prompt)
            return
        prompt = conversation.prompt(asked)
        if show_prompt and as_json:
            print_json(prompt_json(prompt))
        elif show_prompt and not may_send(prompt):
            return
        elif as_json:
            _answer_in_json(conversation, prompt, asked)
        else:
            conversation.show_answer(asked, prompt)


def _question(words: tuple[str, ...]) -> str | None:
    """What is asked: the arguments, then what is piped in."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    parts = [part for part in (" ".join(words).strip(), piped) if part and part != "-"]
    return "\n\n".join(parts) or None


def _answer_in_json(conversation: Conversation, prompt: "Prompt", question: str) -> None:
    result = conversation.answer(prompt)
    print_json({"question": question, **result, **prompt_json(prompt)})
    if result["finish_reason"] == "cancelled":
        raise KeyboardInterrupt
