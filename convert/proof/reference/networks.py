"""The whole forward pass of every family, stage by stage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from convert.proof.reference import masked, structured
from convert.proof.reference.arithmetic import Float64Array, Weights, affine
from convert.proof.reference.masked import Mixing
from convert.proof.reference.modules import linear, norm
from convert.proof.reference.source import Source


@dataclass(frozen=True)
class Form:
    """What keys do not tell.

    Attributes:
        family: Of the checkpoint, as reports call it.
        mixer: Its token mixing, as the `mixer` hint calls it.
        decoder_input: "repeat" or "unroll", for autoencoders.
        embedding_position: Which encoder state is the vector of a text, from its end.
        decay_constant: For structured mixers with decay.
        use_projections: Whether parallel heads use their projections.
    """

    family: str
    mixer: str
    decoder_input: str = "repeat"
    embedding_position: int = -1
    decay_constant: float = 1.0
    use_projections: bool = True


@dataclass(frozen=True)
class Network:
    """A family's forward pass over one checkpoint.

    Attributes:
        stages: From ids ``(B, n)`` (of a re-ranker: rows ``(B, m, d)``) to the named arrays of the pass, in order.
        scores: Name of the stage that is the network's answer.
        mixings: Every token mixing by its place, layer by layer.
        table: Reads the vectors of all tokens, ``(V, d)``; `None` for a re-ranker.
    """

    stages: Callable[[np.ndarray], dict[str, Float64Array]]
    scores: str
    mixings: Callable[[], Iterator[tuple[str, Mixing]]]
    table: Callable[[], Weights] | None


def network(source: Source, form: Form) -> Network:
    """The forward pass of a family; see `Network`."""
    match form.family:
        case "autoencoder" | "infonce_autoencoder":
            return _autoencoder(source, form)
        case "retrieval_mixer":
            return _re_ranker(source)
        case "double":
            return _double(source)
        case "srm":
            return _structured(source, form)
    return _language(source, form)


def _language(source: Source, form: Form) -> Network:
    wte, head = _tables(source, "wte.weight", "lm_head.weight")
    is_legacy = form.mixer == "headed_legacy"

    def mixings() -> Iterator[tuple[str, Mixing]]:
        for index in range(source.blocks("mixerblocks")):
            name = f"mixerblocks.{index}"
            yield name, masked.token_mixing(source, name, is_legacy=is_legacy)

    def stages(ids: np.ndarray) -> dict[str, Float64Array]:
        x = source.rows(wte, ids)
        for name, mixing in mixings():
            x = masked.block(source, name, mixing, x)
        if form.family == "linear":
            x = np.maximum(x, 0)
        return {"hidden": x, "logits": affine(x, source.read(head))}

    return Network(stages, "logits", mixings, partial(source.read, wte))


def _structured(source: Source, form: Form) -> Network:
    wte, head = _tables(source, "input_layer.weight", "output_layer.weight")

    def mixings() -> Iterator[tuple[str, Mixing]]:
        for index in range(source.blocks("mixer_blocks")):
            name = f"mixer_blocks.{index}"
            yield (
                name,
                structured.token_mixing(source, name, form.mixer, form.decay_constant, form.use_projections),
            )

    def stages(ids: np.ndarray) -> dict[str, Float64Array]:
        x = source.rows(wte, ids)
        for name, mixing in mixings():
            x = structured.block(source, name, mixing, x)
        return {"hidden": x, "logits": affine(x, source.read(head))}

    return Network(stages, "logits", mixings, partial(source.read, wte))


def _autoencoder(source: Source, form: Form) -> Network:
    wte, head = _tables(source, "wte.weight", "lm_head.weight")
    is_encoder = form.family == "infonce_autoencoder" or source.blocks("decoderblocks") == 0

    def stack(blocks: str) -> Iterator[tuple[str, Mixing]]:
        for index in range(source.blocks(blocks)):
            yield f"{blocks}.{index}", masked.token_mixing(source, f"{blocks}.{index}")

    def run(blocks: str, x: Float64Array) -> Float64Array:
        for name, mixing in stack(blocks):
            x = masked.block(source, name, mixing, x)
        return x

    def mixings() -> Iterator[tuple[str, Mixing]]:
        yield from stack("encoderblocks")
        if not is_encoder:
            yield from stack("decoderblocks")

    def stages(ids: np.ndarray) -> dict[str, Float64Array]:
        encoded = run("encoderblocks", source.rows(wte, ids))
        length, dims = encoded.shape[1:]
        vector = encoded[:, max(0, length + form.embedding_position)]
        if is_encoder:
            return {"hidden": encoded, "embeddings": vector}
        answer = {"encoder_hidden": encoded, "encoder_embedding": vector}
        if "down.weight" in source:
            vector = linear(source, "up", linear(source, "down", vector))
        if form.decoder_input == "unroll":
            windows = np.stack([np.roll(vector, -place, axis=-1)[:, : dims // 2] for place in range(length)], axis=1)
            seeds = linear(source, "projection", windows)
        else:
            seeds = np.repeat(vector[:, None], length, axis=1)
        x = run("decoderblocks", seeds)
        return {**answer, "decoder_input": seeds, "hidden": x, "logits": affine(x, source.read(head))}

    return Network(stages, "hidden" if is_encoder else "logits", mixings, partial(source.read, wte))


def _re_ranker(source: Source) -> Network:
    def mixings() -> Iterator[tuple[str, Mixing]]:
        for index in range(source.blocks("mixerblocks")):
            name = f"mixerblocks.{index}"
            yield name, masked.token_mixing(source, name, reads=masked.everything)

    def stages(rows: np.ndarray) -> dict[str, Float64Array]:
        x = rows.astype(np.float64)
        for name, mixing in mixings():
            x = masked.block(source, name, mixing, x)
        return {"hidden": x, "scores": linear(source, "retrieval_head", x)[:, 1:, 0]}

    return Network(stages, "scores", mixings, None)


def _double(source: Source) -> Network:
    wte, head = _tables(source, "wte.weight", "lm_head.weight")

    def pairs() -> Iterator[tuple[str, Mixing, Mixing]]:
        for index in range(source.blocks("mixerblocks")):
            name = f"mixerblocks.{index}"
            yield (
                name,
                masked.convolution(source, f"{name}.convf"),
                masked.convolution(source, f"{name}.convr", masked.after_next),
            )

    def mixings() -> Iterator[tuple[str, Mixing]]:
        for name, forward, reverse in pairs():
            yield f"{name}.convf", forward
            yield f"{name}.convr", reverse

    def with_feed_forward(name: str, x: Float64Array) -> Float64Array:
        return x + masked.feed_forward(source, name, norm(source, f"{name}.patch_layernorm", x))

    def stages(ids: np.ndarray) -> dict[str, Float64Array]:
        x = y = source.rows(wte, ids)
        for name, forward, reverse in pairs():
            x = with_feed_forward(name, x + forward(norm(source, f"{name}.seq_layernormf", x)))
            y = with_feed_forward(name, y + reverse(norm(source, f"{name}.seq_layernormr", y)))
        table = source.read(head)
        return {
            "hidden_forward": x,
            "hidden_reverse": y,
            "logits_forward_only": affine(x, table),
            "logits": affine(x + y, table),
        }

    return Network(stages, "logits", mixings, partial(source.read, wte))


def _tables(source: Source, embedding: str, head: str) -> tuple[str, str]:
    """Names of embedding and output head; a tied matrix may be stored under either alone."""
    return embedding if embedding in source else head, head if head in source else embedding
