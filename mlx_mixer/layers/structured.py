r"""Structured token mixing: matrices made of one or two weights per position instead of L.

The follow-up work to the masked mixer ("structured recurrent mixers", https://github.com/blbadger/mrm) shares weights
along rows or columns of the mixing matrix, so that it needs L weights and, while decoding, a state of constant size
(`mlx_mixer.kernels.recurrence`). Input position s, output position :math:`t \ge s`, and :math:`\delta =
\mathrm{clip}(\mathrm{decay})^{1/c}`, or 1 without decay:

============== =====================================================================================
row            :math:`M_{ts} = w_s\, \delta^{t-s}`
col            :math:`M_{ts} = w_t\, \delta^{t-s}`
combined       :math:`M_{ts} = w^{(0)}_s a^{t-s} / c + w^{(1)}_t \delta_1^{t-s}`, where a is clipped but not rooted and
               the division is left out without decay
kernel_col     :math:`M^{(j)}_{ts} = w^{(j)}_t\, \delta^{t-s}` for features shifted by :math:`j - (K - 1)`
diag_row, _col as row and col for s < t, with a weight of its own for s = t
toeplitz       :math:`M_{ts} = w_{t-s}`, which has no state of constant size
============== =====================================================================================

With heads each head has such a matrix over its D / H features. "col_heads" has col heads, "combined_heads" combined
ones; the first half of "mixed_heads", "parallel_heads" and "diag_heads" is col, the second row.
"""

import math

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import DecodeCache, RowMixing
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.kernels.recurrence import Recurrence, mix_recurrent
from mlx_mixer.layers.row_token_mixing import RowTokenMixing, mix
from mlx_mixer.mixing_forms import MIXING_FORMS
from mlx_mixer.state_cache import StateCache, StepState


class StructuredTokenMixing(nn.Module):
    r"""Mix positions with a structured matrix per head, between projections if there are heads.

    Computes :math:`y = O\,[z^{(1)}; \dots; z^{(H)}] + o` with :math:`z^{(h)}_t = b^{(h)}_t + \sum_{s \le t}
    M^{(h)}_{ts}\, (P x_s + p)_h`, and without projections :math:`y = [z^{(1)}; \dots; z^{(H)}]` of :math:`x` itself.

    Args:
        config: Sizes, and a structured kind of token mixing.

    Shape:
        - Input: ``(B, L, D)`` with ``offset + L <= context_length``, any float dtype.
        - Output: same shape and dtype.
    """

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        form = MIXING_FORMS[config.token_mixing]
        length, dims, num_heads = config.context_length, config.hidden_size, config.num_heads
        num_states = len(form.sides[0])
        bound = 1 / math.sqrt(length)
        self.weight = mx.random.uniform(-bound, bound, (num_heads, num_states * config.kernel_size, length))
        self.bias = mx.zeros((num_heads, length))
        if form.has_diagonal:
            self.diagonal = mx.random.uniform(-bound, bound, (num_heads, length))
        if config.decay:
            self.decay = mx.ones((1, 1) if form.shares_decay else (num_heads, num_states))
        if form.projections != "never" and config.use_projections:
            self.in_proj = nn.Linear(dims, dims)
            self.out_proj = nn.Linear(dims, dims)
        enters = mx.array([[side == "row" for side in sides] for sides in form.sides])
        self._enters = mx.repeat(enters, num_heads // len(form.sides), axis=0)[..., None]
        self._config = config

    def __call__(self, x: mx.array, cache: StateCache | StepState | None = None) -> mx.array:
        (recurrence,) = self.mixings()
        rows = self.in_proj(x) if "in_proj" in self else x
        mixed = mix_recurrent(recurrence, rows)[0] if cache is None else cache.mix(0, recurrence, rows)
        return self.out_proj(mixed) if "out_proj" in self else mixed

    def mixings(self) -> list[Recurrence]:
        """The one product, with its decay ready for use."""
        form, constant = MIXING_FORMS[self._config.token_mixing], self._config.decay_constant
        is_combined = self._enters.shape[1] == 2
        return [
            Recurrence(
                self.weight,
                self.bias,
                self._enters,
                decay=self._factors(is_combined) if "decay" in self else None,
                diagonal=self.diagonal if "diagonal" in self else None,
                row_scale=1 / constant if is_combined and "decay" in self else 1.0,
                has_taps=form.has_kernel,
            )
        ]

    def sublayer(self, x: mx.array, norm: nn.Module, cache: StateCache | StepState | None) -> mx.array:
        """`x` plus the token mixing of its norm."""
        return x + self(norm(x), cache)

    def make_cache(self) -> StateCache:
        return StateCache()

    def step_cache(self, position: mx.array, entries: list[mx.array]) -> StepState:
        return StepState(position, entries)

    def _factors(self, is_combined: bool) -> mx.array:
        """Factor per position, ``(H, P)``, in float32: rounded to half precision its powers would soon be off."""
        factors = clip_inclusive(self.decay.astype(mx.float32), *self._config.decay_clip)
        rooted = factors ** (1 / self._config.decay_constant)
        # The row part of combined mixing was trained without the root.
        return mx.concatenate([factors[:, :1], rooted[:, 1:]], axis=1) if is_combined else rooted


class ToeplitzTokenMixing(RowTokenMixing):
    r"""Mix positions with one weight per distance: :math:`y_t = b_t + \sum_{s \le t} w_{t-s}\, x_s`.

    Args:
        context_length: Longest sequence the weights cover, in tokens.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    def __init__(self, context_length: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(context_length)
        self.weight = mx.random.uniform(-bound, bound, (context_length,))
        self.bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        return mix(self.mixings(), 0, x, cache)

    def mixings(self) -> list[RowMixing]:
        length = self.weight.shape[0]
        # Rows bottom up are windows of (w reversed, zeros) that move to the right: a view, whatever its size.
        padded = mx.concatenate([self.weight[::-1], mx.zeros((length - 1,), self.weight.dtype)])
        bottom_up = mx.as_strided(padded, (length, length), (1, 1))
        return [RowMixing(bottom_up[::-1][None, None], self.bias[None])]


def clip_inclusive(values: mx.array, low: float, high: float) -> mx.array:
    """Clip with a gradient of 1 at the bounds too: decay starts at the upper one and must be able to leave it."""
    is_inside = (values >= low) & (values <= high)
    return mx.where(is_inside, values, mx.clip(mx.stop_gradient(values), low, high))
