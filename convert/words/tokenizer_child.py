"""The child process that takes in a foreign tokenizer; see `convert.words.tokenizers`.

A broken tokenizer can panic or abort the Rust library, or keep it busy for ever. Here that ends a process of ours that
has nothing to lose, and the parent turns it into one line.

Usage: python -m convert.words.tokenizer_child SOURCE OUT VOCAB_SIZE. Writes the tokenizer files into OUT and one line
of JSON to standard output: {"ids": {"bos": ..., "eos": ..., "pad": ...}} or {"error": ...}.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from convert.foreign import open_regular, parse_json
from convert.proof.text import TEXT
from convert.words.sentencepiece_json import sentencepiece_to_tokenizer_json, sentencepiece_tokenizer_config
from convert.words.tokenizer_json import cleaned_tokenizer
from mlx_mixer.errors import ConversionError, MixerError
from mlx_mixer.safe_text import safe_line

MAX_TOKENIZER_BYTES = 64 << 20
MAX_MEMORY_BYTES = 4 << 30
MAX_REASON = 300
ROLES = ("bos", "eos", "unk", "pad")
# What the special tokens are called where no tokenizer_config.json says so.
USUAL_NAMES = {
    "bos": ("<s>", "<|begin_of_text|>", "<bos>"),
    "eos": ("</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"),
    "unk": ("<unk>",),
    "pad": ("<pad>", "[PAD]"),
}
PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "  two  spaces\tand a tab\nand a new line\n",
    "def f(x: int) -> int:\n    return x ** 2  # 1234567890",
    "naïve café – “quoted” … 日本語 한국어 العربية 👩‍👩‍👧",
    TEXT,
)


def install(source: Path, out: Path, vocab_size: int) -> dict[str, int | None]:
    """Write the files of a tokenizer into a folder and try it.

    Returns:
        Ids of the special tokens by role; None for those it lacks.

    Raises:
        ConversionError: If it cannot be used with a model of this vocabulary.
    """
    with open_regular(source) as file:
        raw = file.read(MAX_TOKENIZER_BYTES + 1)
    if len(raw) > MAX_TOKENIZER_BYTES:
        raise ConversionError(f"{source.name} is larger than {MAX_TOKENIZER_BYTES:,} bytes")
    if source.suffix == ".json":
        content = cleaned_tokenizer(parse_json(raw, source.name), vocab_size)
        config = _config_beside(source, content)
    else:
        copy = out / "tokenizer.model"
        copy.write_bytes(raw)
        content = cleaned_tokenizer(sentencepiece_to_tokenizer_json(copy), vocab_size)
        config = sentencepiece_tokenizer_config(copy)
    (out / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    for text in PROBES:
        tokenizer.decode(tokenizer.encode(text).ids)
    if source.suffix != ".json":
        _compare(tokenizer, out / "tokenizer.model")
    names = {role: config.get(f"{role}_token") for role in ROLES}
    return {role: None if name is None else tokenizer.token_to_id(name) for role, name in names.items()}


def take_in(source: Path, out: Path, vocab_size: int) -> dict[str, Any]:
    """Run `install`; what it returns or why it failed, as JSON values."""
    try:
        return {"ids": install(source, out, vocab_size)}
    except MixerError as error:
        return {"error": str(error)}
    # The Rust library and protobuf raise bare Exception and errors of their own making, and quote what they read.
    except Exception as error:
        reason = safe_line(" ".join(str(error).split()))[:MAX_REASON]
        return {"error": f"{source.name} cannot be used: {reason or type(error).__name__}"}


def main(arguments: list[str]) -> int:
    """Run `take_in` on command-line arguments and print its result."""
    source, out, vocab_size = arguments
    limit_memory()
    sys.stdout.write(json.dumps(take_in(Path(source), Path(out), int(vocab_size))) + "\n")
    return 0


def limit_memory() -> None:
    """Bound what a foreign tokenizer can take; elsewhere than on Linux only time is bounded."""
    if sys.platform == "linux":
        import resource  # exists on Unix only

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


def _config_beside(source: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Our own configuration with the special tokens that the source names; nothing else of the foreign one is kept."""
    foreign = source.with_name("tokenizer_config.json")
    given: Any = {}
    if foreign.is_file():
        with open_regular(foreign) as file:
            given = parse_json(file.read(MAX_TOKENIZER_BYTES), foreign.name)
    known = {token["content"] for token in content["added_tokens"] or [] if isinstance(token.get("content"), str)}
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for role in ROLES:
        name = given.get(f"{role}_token") if isinstance(given, dict) else None
        name = name.get("content") if isinstance(name, dict) else name
        if name is None:
            name = next((usual for usual in USUAL_NAMES[role] if usual in known), None)
        if isinstance(name, str) and name in known:
            config[f"{role}_token"] = name
    return config


def _compare(tokenizer: Tokenizer, model: Path) -> None:
    original = SentencePieceProcessor(model_file=str(model))
    for text in PROBES:
        if tokenizer.encode(text).ids != original.encode(text):
            raise ConversionError(f"the translated tokenizer does not give SentencePiece's ids for {text[:30]!r}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
