"""Checks of a foreign `tokenizer.json` before the Rust library sees it."""

from collections.abc import Iterator
from typing import Any

from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted

# Thirty replacements of "a" by "aa" in a row would never end; real tokenizers have up to five steps.
MAX_STEPS = 8
MAX_TOKENS = 1 << 20
COMPONENTS = {
    "normalizer": (
        "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Strip StripAccents"
    ),
    "pre_tokenizer": (
        "BertPreTokenizer ByteLevel CharDelimiterSplit Digits Metaspace Punctuation Split UnicodeScripts Whitespace "
        "WhitespaceSplit"
    ),
    "post_processor": "BertProcessing ByteLevel RobertaProcessing TemplateProcessing",
    "decoder": "BPEDecoder ByteFallback ByteLevel Fuse Metaspace Replace Strip WordPiece",
    "model": "BPE Unigram WordLevel WordPiece",
}
_SEQUENCE_PARTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
FIELDS = ("version", "added_tokens", *COMPONENTS)


def cleaned_tokenizer(content: object, vocab_size: int) -> dict[str, Any]:
    """Return a tokenizer without padding and truncation, made of known components only.

    Args:
        content: The parsed file.
        vocab_size: Number of embeddings the model has.

    Raises:
        ConversionError: If it is no tokenizer, has unknown or too many components, or ids the model does not have.
    """
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ConversionError("tokenizer.json holds no tokenizer")
    for role in COMPONENTS:
        steps = list(_steps(content.get(role), role))
        if len(steps) > MAX_STEPS:
            raise ConversionError(f"tokenizer.json chains {len(steps)} components as its {role}; at most {MAX_STEPS}")
        for step in steps:
            if step not in COMPONENTS[role].split():
                raise ConversionError(f"tokenizer.json uses {quoted(step)} as a {role}, which is not supported")
    highest = max(_ids(content), default=-1)
    if not 0 <= highest < vocab_size:
        raise ConversionError(f"the tokenizer has ids up to {highest}, but the model has {vocab_size} embeddings")
    return {"truncation": None, "padding": None, **{name: content.get(name) for name in FIELDS}}


def _steps(component: object, role: str) -> Iterator[object]:
    """Types of the components that a possibly nested sequence applies."""
    if component is None:
        return
    if not isinstance(component, dict):
        raise ConversionError(f"the {role} of tokenizer.json is not a table")
    if component.get("type") != "Sequence" or role not in _SEQUENCE_PARTS:
        # Old files leave out the type of the model.
        yield component.get("type", "BPE" if role == "model" and "merges" in component else None)
        return
    parts = component.get(_SEQUENCE_PARTS[role])
    if not isinstance(parts, list):
        raise ConversionError(f"the {role} of tokenizer.json is an empty sequence")
    for part in parts:
        yield from _steps(part, role)


def _ids(content: dict[str, Any]) -> Iterator[int]:
    vocab, added = content["model"].get("vocab"), content.get("added_tokens")
    added = [] if added is None else added
    if not isinstance(vocab, dict | list) or not isinstance(added, list):
        raise ConversionError("tokenizer.json holds no vocabulary")
    if len(vocab) + len(added) > MAX_TOKENS:
        raise ConversionError(f"tokenizer.json has {len(vocab) + len(added):,} tokens; at most {MAX_TOKENS:,}")
    given = list(vocab.values()) if isinstance(vocab, dict) else list(range(len(vocab)))
    for token in added:
        given.append(token.get("id") if isinstance(token, dict) else None)
    for index in given:
        if type(index) is not int or index < 0:
            raise ConversionError(f"tokenizer.json has a token with the id {quoted(index)}")
        yield index
