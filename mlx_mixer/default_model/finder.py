"""Trains the vectors and blocks that the bundled model finds with, and puts them beside what it writes with.

    python finder.py DATA TEACHER WRITER OUT

DATA is what `finder_data.py` made, TEACHER the folder of all-MiniLM-L6-v2 (`model.safetensors`), WRITER a model folder
whose writing is kept. OUT becomes a model folder; its `training_log.jsonl`, and those in `OUT/teacher` and `OUT/table`,
hold the losses. Needs PyTorch, and a CUDA GPU unless it is given few steps of few pairs. In three parts:

1. The teacher is fine-tuned on the pairs by InfoNCE (`info_nce`), and its vectors of all texts are kept.
2. A table of words without blocks learns by InfoNCE + the divergence from the teacher's scores (`divergence`) + twice
   the distance from its vectors (`distance`).
3. Table and blocks learn by half of InfoNCE + twice the divergence + four times the distance. The blocks add nothing
   at first.

The other passages of a batch are what a query is told from; 42 % of a batch are of the corpus. A query that is a span
of its passage is missing there.

The bundled weights were made by a rougher form of this script in as many steps. There, rates fell with the clock, not
with the steps; states were bfloat16 throughout, where here only factors of products are; the teacher's word vectors
began in 8 bits; and other batches were drawn.
"""

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 # its name everywhere
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Numbers = npt.NDArray[Any]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CONTEXT, LAYERS, HEADS, INNER = 256, 2, 6, 1024
BERT_LAYERS, BERT_HEADS, BERT_EPS = 6, 12, 1e-12
TEACHER_SEES = 192  # of a passage, in training
SHARE_OF_CORPUS = 0.42
TEACHER_TEMPERATURE, TEMPERATURE = 0.05, 0.04
WARMUP_STEPS, DECAY = 50, 0.995
# Batches are padded to a multiple of so many ids: products of odd sizes are slow on a GPU.
MULTIPLE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description="Vectors for search, with a teacher.")
    for name in ("data", "teacher", "writer", "out"):
        parser.add_argument(name, type=Path)
    for name, steps, batch in (("teacher", 285, 1024), ("table", 588, 2048), ("blocks", 3485, 3072)):
        parser.add_argument(f"--{name}-steps", type=int, default=steps, metavar="N")
        parser.add_argument(f"--{name}-batch", type=int, default=batch, metavar="PAIRS")
    options = parser.parse_args()
    pairs = Pairs(np.load(options.data / "finder.npz"))
    bert = Bert(load_file(options.teacher / "model.safetensors")).to(DEVICE)
    fine_tune(bert, pairs, options.teacher_steps, options.teacher_batch, options.out / "teacher")
    goals = Goals(all_vectors(bert, pairs.pieces.passages), all_vectors(bert, pairs.pieces.queries))
    del bert
    table = fresh_finder(pairs.table, pairs.token_weight, layers=0)
    dials = Dials(table_rate=0.012, rate=2e-3, info_nce=1, divergence=1, distance=2, left_out=0)
    train(table, pairs, goals, dials, options.table_steps, options.table_batch, options.out / "table")
    finder = fresh_finder(table.table.detach(), table.token_weight.detach(), layers=LAYERS)
    dials = Dials(table_rate=0.004, rate=3e-3, info_nce=0.5, divergence=2, distance=4, left_out=0.05)
    train(finder, pairs, goals, dials, options.blocks_steps, options.blocks_batch, options.out)
    save_model(finder, options.writer, options.out)
    shutil.copy(options.data / "words.txt", options.out)


# Data


class Texts:
    """Texts of various lengths, one after the other on the device."""

    def __init__(self, ids: Numbers, ends: Numbers) -> None:
        self.lengths = np.diff(ends, prepend=0)
        self._ids = torch.from_numpy(ids.astype(np.int32)).to(DEVICE)
        self._starts = torch.from_numpy(ends - self.lengths).to(DEVICE)

    def batch(self, rows: Numbers, most: int, left_out: float, cuts: Numbers | None) -> tuple[Tensor, Tensor]:
        """The first `most` ids of some texts, padded on the right with 0, and their lengths.

        Args:
            rows: Which texts.
            most: Ids of a text at most.
            left_out: The share of ids that is left out at random.
            cuts: Start and end of the ids of each text that are left out; what is behind them moves up.
        """
        lengths = torch.from_numpy(np.minimum(self.lengths[rows], most)).to(DEVICE)
        places = torch.arange(-(-int(lengths.max()) // MULTIPLE) * MULTIPLE, device=DEVICE)[None]
        starts = self._starts[torch.from_numpy(rows).to(DEVICE)][:, None]
        ids = self._ids[(starts + places).clamp(max=len(self._ids) - 1)].long()
        real = places < lengths[:, None]
        if left_out or cuts is not None:
            kept = real & (torch.rand(ids.shape, device=DEVICE) >= left_out)
            if cuts is not None:
                start, end = torch.from_numpy(cuts.astype(np.int64)).to(DEVICE).T[:, :, None]
                kept &= (places < start) | (places >= end)
            kept = torch.where(kept.any(1, keepdim=True), kept, real)
            ids = ids.gather(1, torch.argsort((~kept).byte(), dim=1, stable=True))
            lengths = kept.sum(1)
            real = places < lengths[:, None]
        return ids * real, lengths


class Side:
    """All texts as ids of one kind, "word" or "piece"."""

    def __init__(self, arrays: Any, kind: str) -> None:
        self.passages = Texts(arrays[f"{kind}_passages"], arrays[f"{kind}_passage_ends"])
        self.queries = Texts(arrays[f"{kind}_queries"], arrays[f"{kind}_query_ends"])
        self.cuts: Numbers = arrays[f"{kind}_cuts"]

    def tokens(self, rows: Numbers, asked: Numbers) -> int:
        """How many ids a batch of passages and queries holds."""
        return int(self.passages.lengths[rows].sum() + self.queries.lengths[asked].sum())


class Pairs:
    """What `finder_data.py` wrote."""

    def __init__(self, arrays: Any) -> None:
        self.words, self.pieces = Side(arrays, "word"), Side(arrays, "piece")
        self.table = torch.from_numpy(arrays["table"])
        self.token_weight = torch.from_numpy(arrays["token_weight"])
        self._corpus, self._others = np.flatnonzero(arrays["of_corpus"]), np.flatnonzero(~arrays["of_corpus"])
        count, owners = len(arrays["of_corpus"]), arrays["owners"]
        is_span = self.pieces.cuts[:, 1] > 0
        self._first = np.searchsorted(owners, np.arange(count))
        self._given = np.bincount(owners[~is_span], minlength=count)
        self._all = np.bincount(owners, minlength=count)

    def draw(self, size: int, span_share: float, random: np.random.Generator) -> tuple[Numbers, Numbers]:
        """About `size` different passages and one query of each; for a share of them a span, where there is one."""
        of_corpus = random.choice(self._corpus, round(size * (SHARE_OF_CORPUS if len(self._others) else 1)))
        others = random.choice(self._others, size - len(of_corpus)) if len(self._others) else self._others
        rows = np.unique(np.concatenate([of_corpus, others]))
        rows = rows[self._all[rows] > 0]
        given, total = self._given[rows], self._all[rows]
        is_span = ((random.random(len(rows)) < span_share) & (total > given)) | (given == 0)
        low, high = np.where(is_span, given, 0), np.where(is_span, total, given)
        return rows, self._first[rows] + random.integers(low, high)


Network = Callable[[Tensor, Tensor], Tensor]


def vectors(
    network: Network,
    texts: Texts,
    rows: Numbers,
    groups: int,
    most: int = CONTEXT,
    left_out: float = 0,
    cuts: Numbers | None = None,
) -> Tensor:
    """Vectors of some texts, made in groups of like length; see `Texts.batch` for the rest."""
    order = np.argsort(-texts.lengths[rows], kind="stable")
    # Factors of products in bfloat16; weights, sums and losses in float32.
    with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
        made = [
            network(*texts.batch(rows[group], most, left_out, None if cuts is None else cuts[group]))
            for group in np.array_split(order, min(groups, len(order)))
        ]
    return torch.cat(made)[torch.from_numpy(np.argsort(order)).to(DEVICE)]


def all_vectors(network: Network, texts: Texts) -> Tensor:
    """The vectors of all texts, in half precision."""
    groups = -(-int(texts.lengths.sum()) // 100_000)
    with torch.no_grad():
        return vectors(lambda *batch: network(*batch).half(), texts, np.arange(len(texts.lengths)), groups)


# Losses


def info_nce(queries: Tensor, passages: Tensor, temperature: float) -> Tensor:
    """Mean of -log of the share that a query's own passage has in the softmax of its cosines, and the other way."""
    scores = queries @ passages.T / temperature
    own = torch.arange(len(queries), device=DEVICE)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def divergence(scores: Tensor, goal: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the teacher's softmax over a batch from the model's, over rows and columns."""
    kinds = ((scores, goal), (scores.T, goal.T))
    return sum(
        F.kl_div(F.log_softmax(ours, 1), F.log_softmax(its, 1), reduction="batchmean", log_target=True)
        for ours, its in kinds
    ) / len(kinds)


def distance(vectors: Tensor, goal: Tensor) -> Tensor:
    """1 - the mean cosine of vectors with the teacher's."""
    return 1 - (F.normalize(vectors, dim=1) * goal).sum(1).mean()


# The teacher


class Bert(nn.Module):
    """MiniLM-L6 as sentence-transformers uses it: the mean of its last states, at length 1."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        wanted = {
            name: values.float() for name, values in weights.items() if name.startswith(("embeddings", "encoder"))
        }
        wanted.pop("embeddings.position_ids", None)
        self.weights = nn.ParameterDict({name.replace(".", "-"): values for name, values in wanted.items()})

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        real = torch.arange(ids.shape[1], device=DEVICE)[None] < lengths[:, None]
        embedded = F.embedding(ids, self._weight("embeddings.word_embeddings.weight"))
        embedded = embedded + self._weight("embeddings.position_embeddings.weight")[: ids.shape[1]]
        embedded = embedded + self._weight("embeddings.token_type_embeddings.weight")[0]
        states = self._norm(embedded, "embeddings.LayerNorm")
        for number in range(BERT_LAYERS):
            states = self._layer(states, real[:, None, None], f"encoder.layer.{number}.")
        return F.normalize((states.float() * real[..., None]).sum(1) / lengths[:, None], dim=1)

    def _layer(self, states: Tensor, mask: Tensor, name: str) -> Tensor:
        parts = (self._linear(states, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        heads = (part.unflatten(-1, (BERT_HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2).flatten(2)
        mixed = self._linear(mixed, f"{name}attention.output.dense")
        states = self._norm(states + mixed, f"{name}attention.output.LayerNorm")
        inner = F.gelu(self._linear(states, f"{name}intermediate.dense"))
        return self._norm(states + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _weight(self, name: str) -> Tensor:
        # PyTorch has no dots in names.
        return self.weights[name.replace(".", "-")]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weight(f"{name}.weight"), self._weight(f"{name}.bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), self._weight(f"{name}.weight"), self._weight(f"{name}.bias"), BERT_EPS)


def fine_tune(bert: Bert, pairs: Pairs, steps: int, batch: int, folder: Path) -> None:
    """Teach the teacher the pairs; a quarter of the queries are spans."""
    random = np.random.default_rng(3)
    side = pairs.pieces
    optimizer = torch.optim.AdamW(bert.parameters(), lr=1e-4, weight_decay=0.01, betas=(0.9, 0.98))
    with _log(folder) as log:
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate = 1e-4 * min(1, (step + 1) / 20) * max(0.05, 1 - step / steps)
            rows, asked = pairs.draw(batch, 0.25, random)
            passages = vectors(bert, side.passages, rows, 6, TEACHER_SEES, cuts=side.cuts[asked])
            queries = vectors(bert, side.queries, asked, 2)
            loss = info_nce(queries, passages, TEACHER_TEMPERATURE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(bert.parameters(), 1.0)
            optimizer.step()
            log({"info_nce": loss}, rate, side.tokens(rows, asked), norm)


# The model


class Block(nn.Module):
    """One of the blocks of "contextual" pooling: headed masked mixing, then channel mixing, both adding nothing yet."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        bound = CONTEXT**-0.5
        self.token_norm, self.channel_norm = nn.LayerNorm(dims), nn.LayerNorm(dims)
        self.in_proj, self.out_proj = nn.Linear(dims, dims), nn.Linear(dims, dims)
        self.weight = nn.Parameter(torch.empty(HEADS, CONTEXT, CONTEXT).uniform_(-bound, bound).tril())
        self.bias = nn.Parameter(torch.zeros(HEADS, CONTEXT))
        self.up, self.down = nn.Linear(dims, INNER), nn.Linear(INNER, dims)
        for last in (self.out_proj, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        size, length, dims = x.shape
        heads = self.in_proj(self.token_norm(x)).view(size, length, HEADS, -1).permute(2, 1, 0, 3)
        # One product for each head: from (positions, texts x features) to the same.
        mixed = torch.bmm(self.weight[:, :length, :length].tril(), heads.reshape(HEADS, length, -1))
        mixed = (mixed + self.bias[:, :length, None]).view(HEADS, length, size, -1)
        x = x + self.out_proj(mixed.permute(2, 1, 0, 3).reshape(size, length, dims))
        return x + self.down(F.gelu(self.up(self.channel_norm(x))))


class Finder(nn.Module):
    """The network of `mlx_mixer.layers.pooling.ContextualPooling`, and what only its training needs."""

    def __init__(self, table: Tensor, token_weight: Tensor, layers: int) -> None:
        super().__init__()
        dims = table.shape[1]
        self.table, self.token_weight = nn.Parameter(table.clone()), nn.Parameter(token_weight.clone())
        self.blocks = nn.ModuleList([Block(dims) for _ in range(layers)])
        self.to_teacher = nn.Linear(dims, dims, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        real = (torch.arange(ids.shape[1], device=DEVICE)[None] < lengths[:, None]).float()
        counts = torch.zeros(len(ids), len(self.table), device=DEVICE).scatter_add_(1, ids, real).gather(1, ids)
        shares = F.softplus(self.token_weight[ids]) * counts.clamp(min=1).rsqrt() * real
        states = F.embedding(ids, self.table)
        for block in self.blocks:
            states = block(states)
        # No product of matrices, whose factors would be bfloat16.
        return F.normalize((shares[:, :, None] * states).sum(1), dim=1)


def fresh_finder(table: Tensor, token_weight: Tensor, layers: int) -> Finder:
    """A finder that starts from these vectors and weights, the same in every run."""
    torch.manual_seed(1)
    return Finder(table, token_weight, layers).to(DEVICE)


@dataclass(frozen=True)
class Goals:
    """The teacher's vectors of all passages and queries."""

    passages: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Dials:
    """Learning rates, what each loss counts, and the share of a passage's words that is left out."""

    table_rate: float
    rate: float
    info_nce: float
    divergence: float
    distance: float
    left_out: float


def train(finder: Finder, pairs: Pairs, goals: Goals, dials: Dials, steps: int, batch: int, folder: Path) -> None:
    """Teach a model the pairs and its teacher's vectors; it ends as the average of its weights over the last steps.

    Of the queries two fifths are spans, and 15 % of the words of any are left out.
    """
    random = np.random.default_rng(5)
    optimizer = _optimizer(finder, dials)
    average = [values.detach().clone() for values in finder.parameters()]
    with _log(folder) as log:
        for step in range(steps):
            factor = min(1, (step + 1) / WARMUP_STEPS) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = factor * group["peak"]
            rows, asked = pairs.draw(batch, 0.4, random)
            losses = _losses(finder, pairs.words, goals, dials, rows, asked)
            optimizer.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            norm = nn.utils.clip_grad_norm_(optimizer.param_groups[-1]["params"], 1.0)
            optimizer.step()
            with torch.no_grad():
                for mean, values in zip(average, finder.parameters(), strict=True):
                    mean.lerp_(values, 1 - min(DECAY, (step + 2) / (step + 11)))
            log(losses, factor * dials.rate, pairs.words.tokens(rows, asked), norm)
    with torch.no_grad():
        for mean, values in zip(average, finder.parameters(), strict=True):
            values.copy_(mean)


def _optimizer(finder: Finder, dials: Dials) -> Any:
    """The table at a rate of its own and without decay; the last group, whose gradient is clipped, is the rest."""
    table, to_teacher = [finder.table, finder.token_weight], [finder.to_teacher.weight]
    others = [values for values in finder.parameters() if all(values is not other for other in (*table, *to_teacher))]
    groups = [
        {"params": table, "peak": dials.table_rate, "weight_decay": 0.0},
        {"params": to_teacher, "peak": 5e-3, "weight_decay": 0.0},
        {"params": others, "peak": dials.rate, "weight_decay": 0.01},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def _losses(
    finder: Finder, words: Side, goals: Goals, dials: Dials, rows: Numbers, asked: Numbers
) -> dict[str, Tensor]:
    passages = vectors(finder, words.passages, rows, 4, left_out=dials.left_out, cuts=words.cuts[asked])
    queries = vectors(finder, words.queries, asked, 1, left_out=0.15)
    of_passages = goals.passages[torch.from_numpy(rows).to(DEVICE)].float()
    of_queries = goals.queries[torch.from_numpy(asked).to(DEVICE)].float()
    scores = queries @ passages.T * finder.log_scale.exp()
    apart = distance(finder.to_teacher(passages), of_passages) + distance(finder.to_teacher(queries), of_queries)
    return {
        "info_nce": dials.info_nce * info_nce(queries, passages, TEMPERATURE),
        "divergence": dials.divergence * divergence(scores, of_queries @ of_passages.T / TEACHER_TEMPERATURE),
        "distance": dials.distance * apart / 2,
    }


# What is written


@contextmanager
def _log(folder: Path) -> Iterator[Callable[[dict[str, Tensor], float, int, Tensor], None]]:
    """A log as `mlx-mixer train` writes it, and in it what each loss adds to the sum."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "training_log.jsonl").open("w", encoding="utf-8") as file:
        last, step = time.perf_counter(), 0

        def log(losses: dict[str, Tensor], rate: float, tokens: int, norm: Tensor) -> None:
            nonlocal last, step
            parts = {name: loss.item() for name, loss in losses.items()}
            now, step = time.perf_counter(), step + 1
            entry = {"step": step, "loss": sum(parts.values()), "learning_rate": rate, "tokens": tokens}
            file.write(json.dumps({**entry, "seconds": now - last, "gradient_norm": norm.item(), **parts}) + "\n")
            last = now

        yield log


def save_model(finder: Finder, writer: Path, out: Path) -> None:
    """Write the model folder `writer` again, with this finder in the place of what it embeds with."""
    weights = {
        name: values for name, values in load_file(writer / "model.safetensors").items() if "pooling." not in name
    }
    weights |= {f"pooling.{name}": values.detach().cpu().contiguous() for name, values in _named(finder).items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "mlx"})
    config = json.loads((writer / "config.json").read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if not name.startswith(("embedding_", "word_"))}
    size, dims = finder.table.shape
    config |= {"pooling": "contextual", "embedding_size": dims, "embedding_layers": LAYERS}
    config |= {"embedding_intermediate_size": INNER, "embedding_heads": HEADS, "word_vocab_size": size}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in writer.glob("tokenizer*"):
        shutil.copy(file, out)


def _named(finder: Finder) -> dict[str, Tensor]:
    """Weights under the names of `ContextualPooling`."""
    named = {"table.weight": finder.table, "token_weight": finder.token_weight}
    homes = {
        "in_proj": "token_mixing.",
        "out_proj": "token_mixing.",
        "up": "channel_mixing.",
        "down": "channel_mixing.",
    }
    for number, block in enumerate(finder.blocks):
        for name, values in block.named_parameters():
            home = "token_mixing." if name in ("weight", "bias") else homes.get(name.partition(".")[0], "")
            named[f"layers.{number}.{home}{name}"] = values
        named[f"layers.{number}.token_mixing.weight"] = block.weight.tril()[:, None]
    return named


if __name__ == "__main__":
    main()
