"""`train retrieval` from files to a model folder."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import mlx.core as mx
import numpy as np

from mlx_mixer.checkpoint import load_config, load_language_model, resolve_model
from mlx_mixer.embedding import embeds_words_alone, word_tokenizer
from mlx_mixer.errors import MixerError, UnsupportedModelError, UsageError
from mlx_mixer.folding import fold
from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.distillation import load_teacher
from mlx_mixer.training.embed import embed_bags, embed_windows
from mlx_mixer.training.evaluate import top1_among, vector_scorer
from mlx_mixer.training.hard_negatives import (
    MiningSettings,
    ModelMiner,
    Numbers,
    SameText,
    Vectors,
    WordMiner,
    rivals_from,
)
from mlx_mixer.training.loop import Gradients, LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.lora import merge_adapters
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.objective import LossName, ObjectiveSettings
from mlx_mixer.training.pair_arrays import (
    Draw,
    Targets,
    bag_batches,
    bag_gradients,
    bag_loss,
    window_batches,
    window_gradients,
)
from mlx_mixer.training.pair_batches import (
    Ids,
    PairSettings,
    Rivals,
    TokenPairs,
    draw_pairs,
    encode_pairs,
)
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.splitting import keep_whole
from mlx_mixer.training.start import start_as_identity, start_static, start_words
from mlx_mixer.training.token_counts import token_counter
from mlx_mixer.training.token_vectors import cooccurrence_vectors
from mlx_mixer.training.tokenizer import Encode, load_encoder
from mlx_mixer.training.tuning import Tuning
from mlx_mixer.training.two_views import both_views, loss_by_parts, of_view, view_bounds
from mlx_mixer.word_tokenizer import WordTokenizer, commonest_stems

Units = Literal["pieces", "words"]

# Which tokens occur together shows in so many passages; the time it takes grows with them.
_COOCCURRENCE_TEXTS = 50_000
# Heads of fresh "contextual" blocks have so many features where that divides them, and their inner width is a multiple.
_HEAD_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class RetrievalRun:
    """Everything that decides a retrieval run.

    Attributes:
        pairs: Files of query-passage pairs.
        init: Model folder to start from, with "token_weighted", "static" or "contextual" pooling.
        out: Model folder to make.
        valid: Files of pairs that decide which weights are kept and when to stop.
        temperature: Of the loss.
        loss: Which one; see `mlx_mixer.training.contrastive`.
        rows: Pairs that a query of "one-positive" sees.
        matryoshka: Sizes at which the first values of a vector are to serve alone.
        mining: Which wrong answers are brought beside those of the batch.
        teacher: File of a teacher's vectors; see `mlx_mixer.training.distillation`.
        teacher_weight: Its share in the loss, from 0 to 1.
        teacher_temperature: Divides its cosines.
        through_blocks: Train the blocks and their gates too, instead of token vectors and weights alone. A model with
            "contextual" pooling is always trained through the blocks that serve search, and never through the others.
        tuning: Which weights of the blocks are trained; token vectors stay as they are where that is a part of them.
        tokens_per_chunk: Positions that go through the blocks at once; a larger batch is cut, at the price of a second
            forward pass. It decides the memory needed, not the outcome.
        embedding_size: Give the model fresh token vectors of this length that serve search alone ("static" pooling), in
            place of how it embedded before; they start from which tokens occur in the same passages. Nothing else of
            the model is trained then.
        embedding_layers: Let those vectors go through so many fresh blocks of their own ("contextual" pooling), which
            add nothing at first.
        embedding_intermediate_size: Inner width of those blocks; 8/3 of the vectors' length if omitted.
        embedding_heads: Their heads; one for 64 features if omitted, or one in all where that does not divide them.
        units: What those vectors are of: the model's own pieces, or words, which are the default.
        word_embedding_size: Give the model fresh vectors of words of this length beside those of tokens (see
            `mlx_mixer.embedding`), and train those, with the tokens' if they are fresh too.
        words: How many of the commonest words get a vector of their own.
        word_buckets: Vectors that all other words share.
        fold_case: Embed texts in lower case; words are always without case.
        drawing: How pairs are drawn.
        half: Write weights in float16.
        loop: The loop's dials.
    """

    pairs: Sequence[Path]
    init: Path
    out: Path
    valid: Sequence[Path] = ()
    temperature: float = 0.04
    loss: LossName = "info-nce"
    rows: int = 32
    matryoshka: tuple[int, ...] = ()
    mining: MiningSettings = field(default_factory=MiningSettings)
    teacher: Path | None = None
    teacher_weight: float = 0.5
    teacher_temperature: float = 0.05
    through_blocks: bool = False
    tuning: Tuning = field(default_factory=Tuning)
    tokens_per_chunk: int = 16_384
    embedding_size: int | None = None
    embedding_layers: int | None = None
    embedding_intermediate_size: int | None = None
    embedding_heads: int | None = None
    units: Units | None = None
    word_embedding_size: int | None = None
    words: int = 7680
    word_buckets: int = 1024
    fold_case: bool = True
    drawing: PairSettings = field(default_factory=PairSettings)
    half: bool = False
    loop: LoopSettings

    def __post_init__(self) -> None:
        if self.tuning.is_partial and not self.through_blocks:
            raise UsageError("lora and last_layers adapt blocks; give --through-blocks with them")
        self.objective()
        if self.loop.average != "none" and not self.valid:
            raise UsageError("averaged weights are kept where validation finds them better; give --valid PAIRS")
        if not self.teacher_temperature > 0:
            raise UsageError(f"teacher_temperature is {self.teacher_temperature}; it must be above 0")
        if self.tokens_per_chunk < 1:
            raise UsageError(f"tokens_per_chunk is {self.tokens_per_chunk}; it must be at least 1")
        for name in (
            *("embedding_size", "embedding_layers", "embedding_intermediate_size", "embedding_heads"),
            *("word_embedding_size", "words", "word_buckets"),
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1")
        self._check_embedding_blocks()

    def _check_embedding_blocks(self) -> None:
        if self.units is not None and self.units not in get_args(Units):
            raise UsageError(f"units is {self.units!r}; it must be one of {', '.join(get_args(Units))}")
        if self.embedding_layers is None:
            for name in ("embedding_intermediate_size", "embedding_heads", "units"):
                if (value := getattr(self, name)) is not None:
                    raise UsageError(
                        f"{name} is {value!r}, which is about fresh blocks for search; give --embedding-layers too"
                    )
            return
        if self.embedding_size is None:
            raise UsageError("embedding_layers are blocks for fresh vectors; give --embedding-size with them")
        if self.word_embedding_size is not None:
            raise UsageError(
                "blocks for search take vectors of words or of pieces, not of both; leave out --word-embedding-size "
                "and choose with --units"
            )
        if self.embedding_heads is not None and self.embedding_size % self.embedding_heads:
            raise UsageError(
                f"embedding_size {self.embedding_size} does not divide into {self.embedding_heads} heads; give another "
                "--embedding-heads"
            )

    @property
    def has_fresh_words(self) -> bool:
        """Whether words are chosen anew, for fresh vectors of them."""
        return self.word_embedding_size is not None or (self.embedding_layers is not None and self.units != "pieces")

    def objective(self) -> ObjectiveSettings:
        """What is minimised."""
        return ObjectiveSettings(
            loss=self.loss,
            temperature=self.temperature,
            rows=self.rows,
            matryoshka=self.matryoshka,
            teacher_weight=0.0 if self.teacher is None else self.teacher_weight,
        )


def train_retrieval(
    run: RetrievalRun, *, resume: bool, report: Callable[[StepReport], None], narrate: Callable[[str], None]
) -> TrainingSummary:
    """Train a model to find passages and write its folder.

    Args:
        run: What to do.
        resume: Go on with an unfinished run of the same settings.
        report: Told after every step.
        narrate: Told what is being prepared.

    Raises:
        MixerError: If the data, the settings or the folder cannot be used, or the loss stops being a number.
    """
    mx.random.seed(run.loop.seed)
    folder = RunFolder(run.out)
    run = _for_all(run, folder.ranks)
    with folder.ranks.together():
        pairs = read_pairs(run.pairs)
        if len(pairs) < 2:
            raise MixerError("there is one pair; each needs at least one other to be told from")
        words = _chosen_words(run, pairs, narrate)
        model = _trainable_model(run, words)
        objective = run.objective()
        objective.check_dims(min(model.config.embedding_parts))
        teacher = load_teacher(run.teacher, pairs, run.teacher_temperature) if run.teacher else None
        encode = _encoder(run, model, words)
        validate = _validation(run, encode, model) if run.valid else None
    folder.open(_decisive(run, pairs), resume=resume)
    narrate(f"{len(pairs):,} pairs")
    tokens = encode_pairs(pairs, encode)
    if not folder.has_checkpoint:
        _start(run, model, tokens, narrate)
    learned = loss_by_parts(objective, model.config.embedding_parts, _learned_parts(run, model))
    same = SameText(pairs)
    draw = _drawing(run, tokens, _rivals(run, pairs, tokens, same, model, folder, narrate))
    targets = Targets(same, teacher)
    gradients: Gradients | None
    if _embeds_through_blocks(run, model):
        batches = window_batches(draw, targets, model.config.context_length, run.tokens_per_chunk)
        gradients = window_gradients(model, learned, targets.count, folder.ranks)
    else:
        batches = bag_batches(draw, targets, token_counter(model.config))
        gradients = None if folder.ranks.is_alone else bag_gradients(model, learned, folder.ranks)
    summary = train(
        model,
        bag_loss(learned),
        batches,
        run.loop,
        folder,
        report=report,
        validate=validate,
        gradients=gradients,
        split=keep_whole,
    )
    merge_adapters(model)
    config = replace(model.config, temperature=run.temperature, fold_case=run.fold_case)
    write_model(folder, model, run.init, config=config, half=run.half, words=words)
    return summary


def _for_all(run: RetrievalRun, ranks: Ranks) -> RetrievalRun:
    """The run with the batch of all processes.

    Raises:
        UsageError: If it asks for what needs one process.
    """
    if ranks.is_alone:
        return run
    if run.mining.count and run.mining.miner != "bm25":
        raise UsageError("hard negatives that the model looks for need one process; use --mine bm25 under mlx.launch")
    return replace(run, drawing=replace(run.drawing, batch_size=run.drawing.batch_size * ranks.size))


def _embeds_through_blocks(run: RetrievalRun, model: LanguageMixer) -> bool:
    return run.through_blocks or model.config.pooling == "contextual"


def _drawing(run: RetrievalRun, tokens: TokenPairs, rivals: Rivals | None) -> Draw:
    return lambda step: draw_pairs(tokens, run.drawing, np.random.default_rng((run.loop.seed, step)), rivals, step)


def _rivals(
    run: RetrievalRun,
    pairs: Sequence[Pair],
    tokens: TokenPairs,
    same: SameText,
    model: LanguageMixer,
    folder: RunFolder,
    narrate: Callable[[str], None],
) -> Rivals | None:
    """Who chooses the hard negatives, if any are asked for."""
    if not run.mining.count:
        return None
    embed_texts = embed_windows if _embeds_through_blocks(run, model) else embed_bags

    def embed(among: Numbers) -> tuple[Vectors, Vectors]:
        narrate("looking for hard negatives with the model")
        # What lies beyond a passage's first window is left out: this is about which passages are near, roughly.
        first_windows = [tokens.passages[number][: model.config.context_length] for number in among]
        return embed_texts(model, [ways[0] for ways in tokens.queries]), embed_texts(model, first_windows)

    miners: list[Callable[[int, int], Sequence[int]]] = []
    if run.mining.miner != "model":
        narrate("indexing the words of the passages for hard negatives")
        miners.append(WordMiner(pairs, same, run.mining.pool))
    if run.mining.miner != "bm25":
        miners.append(ModelMiner(embed, len(pairs), same, run.mining, folder.work, run.loop.seed))
    return rivals_from(miners, len(pairs), same, run.mining.count)


def _sample(passages: Sequence[Ids], seed: int) -> Sequence[Ids]:
    if len(passages) <= _COOCCURRENCE_TEXTS:
        return passages
    chosen = np.random.default_rng(seed).choice(len(passages), _COOCCURRENCE_TEXTS, replace=False)
    return [passages[number] for number in np.sort(chosen)]


def _chosen_words(run: RetrievalRun, pairs: Sequence[Pair], narrate: Callable[[str], None]) -> WordTokenizer | None:
    """The words of the run: chosen anew for fresh vectors, those of the model otherwise; None if it has none."""
    if run.has_fresh_words:
        narrate("counting words")
        return WordTokenizer(commonest_stems((pair.passage for pair in pairs), run.words), run.word_buckets)
    config = load_config(run.init)
    are_replaced = run.embedding_layers is not None or (run.embedding_size is not None and embeds_words_alone(config))
    return None if are_replaced else word_tokenizer(resolve_model(run.init), config)


def _start(run: RetrievalRun, model: LanguageMixer, tokens: TokenPairs, narrate: Callable[[str], None]) -> None:
    """Give fresh vectors their first values."""
    sample = _sample(tokens.passages, run.loop.seed)
    bounds = view_bounds(model.config)
    if run.embedding_size is not None:
        of_words = embeds_words_alone(model.config)
        narrate(f"computing {'vectors of words' if of_words else 'token vectors'} from co-occurrence")
        texts = [of_view(text, 0, bounds[1]) for text in sample]
        found = cooccurrence_vectors(texts, bounds[1], run.embedding_size, run.loop.seed)
        assert isinstance(model.pooling, StaticPooling | ContextualPooling)
        if of_words:
            start_words(model.pooling, found, run.loop.seed)
        else:
            start_static(model.pooling, found)
        if isinstance(model.pooling, ContextualPooling):
            start_as_identity(model.pooling.layers)
    if run.word_embedding_size is not None:
        narrate("computing vectors of words from co-occurrence")
        texts = [of_view(text, bounds[1], bounds[2]) - bounds[1] for text in sample]
        found = cooccurrence_vectors(texts, bounds[2] - bounds[1], run.word_embedding_size, run.loop.seed)
        start_words(model.word_pooling, found, run.loop.seed)


def _learned_parts(run: RetrievalRun, model: LanguageMixer) -> list[int]:
    """Which parts of the vectors are trained: the fresh ones, or all."""
    fresh = [part for part, size in enumerate((run.embedding_size, run.word_embedding_size)) if size is not None]
    return fresh or list(range(len(model.config.embedding_parts)))


def _trainable_model(run: RetrievalRun, words: WordTokenizer | None) -> LanguageMixer:
    model = load_language_model(run.init, as_stored=False)
    if run.embedding_layers is not None:
        _give_contextual(run, model, words)
    elif run.embedding_size is not None:
        _give_static(model, run.embedding_size)
    if run.word_embedding_size is not None and words is not None:
        if model.config.pooling != "static":
            raise UnsupportedModelError(
                f"{run.init} pools by {model.config.pooling!r}; vectors of words stand beside token vectors that serve "
                "search alone; give it some with --embedding-size"
            )
        size = run.word_embedding_size
        model.config = replace(model.config, word_embedding_size=size, word_vocab_size=words.vocab_size)
        model.word_pooling = StaticPooling(words.vocab_size, size)
    kind = model.config.pooling
    if kind not in ("token_weighted", "static", "contextual"):
        raise UnsupportedModelError(
            f"{run.init} pools by {kind!r}; retrieval is trained for 'token_weighted', 'static' and 'contextual' "
            "pooling; give it vectors for search with --embedding-size"
        )
    if run.through_blocks and kind == "static":
        raise UsageError("'static' pooling does not go through the blocks; leave out --through-blocks")
    if run.tuning.is_partial and kind == "contextual":
        raise UsageError(
            "lora and last_layers adapt the blocks that write, and 'contextual' pooling has its own; leave them out"
        )
    model.freeze()
    if run.through_blocks and run.tuning.is_partial:
        run.tuning.apply(model)
    elif run.through_blocks and kind == "token_weighted":
        for layer in model.layers:
            layer.unfreeze()
    if kind == "token_weighted" and not run.tuning.is_partial:
        model.embed_tokens.unfreeze()
    parts = _learned_parts(run, model)
    if 0 in parts:
        # Its gates say how much the blocks count; with adapters they are trained too.
        model.pooling.unfreeze()
    if 1 in parts:
        model.word_pooling.unfreeze()
    return model


def _give_static(model: LanguageMixer, size: int) -> None:
    """Give a model fresh vectors of tokens for search; vectors of words stay where they stood beside such."""
    config = model.config
    model.config = replace(
        config,
        pooling="static",
        embedding_size=size,
        embedding_layers=None,
        embedding_intermediate_size=None,
        embedding_heads=None,
        word_vocab_size=None if config.word_embedding_size is None else config.word_vocab_size,
        embedding_position=None,
    )
    model.pooling = StaticPooling(config.vocab_size, size)


def _give_contextual(run: RetrievalRun, model: LanguageMixer, words: WordTokenizer | None) -> None:
    """Give a model fresh vectors for search and blocks for them, in the place of all it embedded with."""
    size = run.embedding_size
    assert size is not None
    model.config = replace(
        model.config,
        pooling="contextual",
        embedding_size=size,
        embedding_layers=run.embedding_layers,
        embedding_intermediate_size=run.embedding_intermediate_size or _inner_width(size),
        embedding_heads=run.embedding_heads or (1 if size % _HEAD_SIZE else size // _HEAD_SIZE),
        word_embedding_size=None,
        word_vocab_size=None if words is None else words.vocab_size,
        embedding_position=None,
    )
    model.pooling = ContextualPooling(model.config)
    model.pop("word_pooling", None)


def _inner_width(size: int) -> int:
    return max(1, round(8 / 3 * size / _HEAD_SIZE)) * _HEAD_SIZE


def _validation(run: RetrievalRun, encode: Encode, model: LanguageMixer) -> Callable[[], float]:
    """Top-1 accuracy of the hardest queries among at most 512 passages of the valid files.

    Where a pair of those files has a query without giveaway names, only such queries are asked.
    """
    pairs = read_pairs(run.valid)
    pairs = [pair for pair in pairs if pair.hard_query] or pairs
    if len(pairs) < 2:
        raise MixerError("the valid files hold one pair; a query needs another passage that could be found instead")
    tokens = encode_pairs(pairs, encode)
    sides = ([queries[0] for queries in tokens.queries], tokens.passages)
    embed = embed_windows if _embeds_through_blocks(run, model) else embed_bags

    def score() -> float:
        scorer = vector_scorer(*(embed(model, side) for side in sides))
        count = len(pairs)
        found = top1_among(min(512, count), np.ones(count, bool), scorer, queries=1000, seed=0)
        return found.accuracy

    return score


def _encoder(run: RetrievalRun, model: LanguageMixer, words: WordTokenizer | None) -> Encode:
    """Texts to the ids that are embedded."""
    if words is not None and embeds_words_alone(model.config):
        return words.encode  # caseless
    pieces = load_encoder(run.init)
    encode: Encode = (lambda texts: pieces([fold(text) for text in texts])) if run.fold_case else pieces
    return encode if words is None else both_views(encode, words, model.config.vocab_size)


def _decisive(run: RetrievalRun, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    return {
        "kind": "retrieval",
        "init": str(run.init),
        **asdict(run.objective()),
        "mining": asdict(run.mining),
        "teacher": str(run.teacher) if run.teacher else None,
        "teacher_temperature": run.teacher_temperature,
        "through_blocks": run.through_blocks,
        "tuning": asdict(run.tuning),
        "embedding_size": run.embedding_size,
        "embedding_layers": run.embedding_layers,
        "embedding_intermediate_size": run.embedding_intermediate_size,
        "embedding_heads": run.embedding_heads,
        "units": run.units,
        "word_embedding_size": run.word_embedding_size,
        "words": run.words,
        "word_buckets": run.word_buckets,
        "fold_case": run.fold_case,
        "pairs": len(pairs),
        "characters": sum(len(pair.passage) for pair in pairs),
        **asdict(run.drawing),
        **run.loop.decisive(),
    }
