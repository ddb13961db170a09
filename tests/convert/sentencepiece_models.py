"""Small SentencePiece models, trained in a moment on the standard library's own sources."""

import functools
import io
import string
import sysconfig
from pathlib import Path
from typing import Any

import sentencepiece

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
MIXED = """\
The quick  brown fox   jumps over the lazy dog; naïve café – “quoted” … and № 5.
日本語のテキストを分割する。한국어 텍스트도 있습니다. Русский текст и немного кода. العربية أيضا
def f(x: int) -> int:\n    return x ** 2\t# 1234567890
👩‍👩‍👧 flags 🇩🇪 and ☕️, ﬁgures ① ½ ＡＢＣ, e\u0301 and é, a\u00a0b, zero\u200bwidth, soft\u00adhyphen
<s> </s> <unk> <0x41> ▁literal▁▁underscores -----=====***** https://example.org/a_b?c=d&e=%20
"""

# What the trainer of the bundled model uses, and what upstream's runs use.
IDENTITY = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "bpe": {"model_type": "bpe", **IDENTITY},
    "bpe_digits": {"model_type": "bpe", **IDENTITY, "split_digits": True, "allow_whitespace_only_pieces": True},
    "bpe_no_prefix": {"model_type": "bpe", **IDENTITY, "add_dummy_prefix": False},
    "bpe_across_spaces": {"model_type": "bpe", **IDENTITY, "split_by_whitespace": False},
    "bpe_collapsed": {"model_type": "bpe", **IDENTITY, "remove_extra_whitespaces": True},
    "bpe_nfkc": {"model_type": "bpe", "byte_fallback": True},
    "bpe_unknown": {"model_type": "bpe"},
    "bpe_user_defined": {
        "model_type": "bpe",
        **IDENTITY,
        "user_defined_symbols": ["<sep>", "<sep><sep>", "self.", "\n"],
    },
    "bpe_own_ids": {"model_type": "bpe", **IDENTITY, "unk_id": 3, "bos_id": -1, "eos_id": 1, "pad_id": 0},
    "unigram": {"model_type": "unigram", **IDENTITY},
    "unigram_nfkc": {"model_type": "unigram", "byte_fallback": True},
    "unigram_unknown": {"model_type": "unigram"},
}


def lines_of(*modules: str) -> list[str]:
    text = "\n".join((STANDARD_LIBRARY / f"{name}.py").read_text(encoding="utf-8") for name in modules)
    return text.split("\n")


def texts() -> list[str]:
    """A few hundred texts that no model was trained on: code, prose, other scripts, spaces of every kind."""
    code = lines_of("shlex", "fnmatch", "calendar")
    blocks = ["\n".join(code[start : start + 7]) for start in range(0, len(code), 7)]
    odd = [
        "",
        " ",
        "   ",
        "\n",
        "\n\n  \t",
        "  leading",
        "trailing  ",
        "two\r\nlines\r",
        "a",
        "▁",
        "a" * 60,
        "\x00\x07",
        "a ▁",
        "<sep><sep><sep>self.x = <sep> self.self.",
    ]
    return [*code[:300], *blocks, *MIXED.split("\n"), MIXED, *odd]


@functools.cache
def trained(variant: str) -> bytes:
    settings = VARIANTS[variant]
    training = [line for line in (*lines_of("textwrap", "string", "bisect", "heapq"), *MIXED.split("\n") * 3) if line]
    output = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training),
        model_writer=output,
        vocab_size=700,
        character_coverage=0.99,
        required_chars=string.punctuation + string.ascii_letters + string.digits,
        minloglevel=2,
        num_threads=2,
        **settings,
    )
    return output.getvalue()
