"""Autoencoders: two stacks of the blocks of a flat or headed mixer, and what lies between them.

Which parts a file holds differs, and which of them matter must sometimes be told: revisions that can unroll the vector
store the projection for it even where it is repeated instead. An autoencoder that was trained on with InfoNCE lies in
one attribute, "model.", of another module; only its encoder took part.
"""

from convert.families.block_tables import EMBEDDING, channel_mixing, convolution, heads, token_norm
from convert.families.family import TOKEN_HINTS, Evidence, Facts, Family
from convert.families.key_table import Rule
from convert.families.language_config import check_heads
from convert.hints import how_to_tell
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig

_ENCODER = ("encoderblocks.{i}", "encoder.layers.{i}")
_DECODER = ("decoderblocks.{n}", "decoder.{n}")
_BOTTLENECK = (
    Rule("down.weight", "compress.weight", "C D", is_optional=True),
    Rule("down.bias", "compress.bias", "C", is_optional=True),
    Rule("up.weight", "expand.weight", "D C", is_optional=True),
    Rule("up.bias", "expand.bias", "D", is_optional=True),
)
_PROJECTION = ("projection.weight", "projection.bias")
_UNROLL = (Rule(_PROJECTION[0], "unroll.weight", "D U"), Rule(_PROJECTION[1], "unroll.bias", "D"))
_WTE, _HEAD = EMBEDDING
_EMBEDDING = Rule(_WTE.stored, "encoder.embed_tokens.weight", _WTE.shape)


def autoencoder(evidence: Evidence) -> Family:
    """The family of an autoencoder, with the table that its parts and the hints call for.

    Raises:
        ConversionError: If the decoder's input must be told, or what was told cannot be.
    """
    has_heads = any(".conv.convs." in name for name in evidence.tensors)
    mixer = "headed" if has_heads else "flat"
    # Who says how the decoder is fed wants the decoder.
    if evidence.is_wrapped and evidence.hints.decoder_input is None:
        return _encoder_alone(evidence, mixer)
    is_unrolled = _is_unrolled(evidence)
    return Family(
        "autoencoder",
        mixer,
        autoencoder_rules(mixer, is_unrolled=is_unrolled),
        _config,
        dropped=() if is_unrolled else _PROJECTION,
        hints=(*TOKEN_HINTS, "decoder_input"),
    )


def autoencoder_rules(mixer: str, *, is_unrolled: bool) -> tuple[Rule, ...]:
    """The key table of the whole network, of "flat" or "headed" blocks."""
    unroll = _UNROLL if is_unrolled else ()
    return (_EMBEDDING, _HEAD, *_stack(mixer, *_ENCODER), *_BOTTLENECK, *unroll, *_stack(mixer, *_DECODER))


def encoder_rules(mixer: str) -> tuple[Rule, ...]:
    """The key table of an encoder alone."""
    return (_EMBEDDING, *_stack(mixer, *_ENCODER))


def _encoder_alone(evidence: Evidence, mixer: str) -> Family:
    unused = [name for name in evidence.tensors if not name.startswith(("encoderblocks.", _WTE.stored))]
    return Family(
        "infonce_autoencoder",
        mixer,
        encoder_rules(mixer),
        _config,
        dropped=tuple(unused),
        hints=(*TOKEN_HINTS, "decoder_input"),
        notes=(f"only the encoder, trained on as an embedder, was converted; for all, {how_to_tell('decoder_input')}",),
    )


def _stack(mixer: str, stored: str, target: str) -> tuple[Rule, ...]:
    token_mixing = heads(stored, target) if mixer == "headed" else convolution(stored, target)
    return (*token_mixing, *token_norm(stored, target), *channel_mixing(stored, target))


def _is_unrolled(evidence: Evidence) -> bool:
    told = evidence.hints.decoder_input
    if _PROJECTION[0] not in evidence.tensors:
        if told == "unroll":
            raise ConversionError(
                "the hint says decoder_input=unroll, but the checkpoint has no projection, so it repeats"
            )
        return False
    if told is None:
        raise ConversionError(
            "the file does not say whether the decoder's input is unrolled or repeated (upstream's default is unroll); "
            f"{how_to_tell('decoder_input', 'unroll')} or repeat"
        )
    return told == "unroll"


def _config(facts: Facts) -> AutoencodingMixerConfig:
    sizes, hints = facts.match.sizes, facts.hints
    check_heads(sizes)
    targets = {entry.target for entry in facts.match.assignments}
    bottleneck = targets & {rule.target for rule in _BOTTLENECK}
    if len(bottleneck) not in (0, len(_BOTTLENECK)):
        raise ConversionError("the checkpoint has only a part of the bottleneck's down and up")
    if sizes.get("U", sizes["D"] // 2) != sizes["D"] // 2:
        raise ConversionError(f"the projection takes {sizes['U']} features; half of the width are {sizes['D'] // 2}")
    decoder_layers = sizes["second_layers"]
    if decoder_layers == 0 and _HEAD.target in targets:
        raise ConversionError("the checkpoint has an output head, but no decoderblocks")
    return AutoencodingMixerConfig(
        vocab_size=sizes["V"],
        hidden_size=sizes["D"],
        num_layers=sizes["layers"],
        num_decoder_layers=decoder_layers,
        context_length=sizes["L"],
        intermediate_size=sizes["F"],
        token_mixing="headed" if sizes["heads"] else "flat",
        kernel_size=sizes["k"],
        num_heads=max(1, sizes["heads"]),
        compressed_size=sizes.get("C") if bottleneck else None,
        decoder_input="unroll" if "U" in sizes else "repeat",
        tie_word_embeddings=facts.is_tied and decoder_layers > 0,
        padding_side=hints.padding_side or "left",
        pad_token_id=hints.pad_token_id,
        embedding_position=-1 if hints.embedding_position is None else hints.embedding_position,
        temperature=hints.temperature,
    )
