"""Metal or plain MLX: decided by measurement on the user's own machine, and never at the price of a failure."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import mlx.core as mx

from mlx_mixer.kernels.probe import Verdict, probe
from mlx_mixer.kernels.twins import Form, Shape, TwinKernel
from mlx_mixer.kernels.verdicts import VerdictStore, verdict_key
from mlx_mixer.paths import default_paths

logger = logging.getLogger(__name__)

SWITCH = "MLX_MIXER_KERNELS"
DTYPES = (mx.float32, mx.float16, mx.bfloat16)


@dataclass(frozen=True)
class KernelReport:
    """One line of `mlx-mixer doctor`.

    Attributes:
        name: The kernel.
        dtype: Of the arrays tried.
        chosen: "metal" or "plain".
        reason: Why, for people.
        max_error: Largest difference between the two forms, as a share of the largest value; None if not tried.
        speed_ratio: Time of the plain form over time of the Metal form; None if not measured.
    """

    name: str
    dtype: str
    chosen: str
    reason: str
    max_error: float | None
    speed_ratio: float | None


def metal_is_usable() -> bool:
    """Whether arrays are computed on an Apple GPU unless told otherwise."""
    return bool(mx.metal.is_available()) and mx.default_device() == mx.gpu


class Chooser:
    """Picks a form for each kernel, dtype and shape, and remembers why.

    Args:
        store: Verdicts of earlier processes.
        environ: Where the switch `MLX_MIXER_KERNELS=plain` is looked up.
        is_usable: Whether Metal kernels can run now.
        measure: The probe.
    """

    def __init__(
        self,
        store: VerdictStore,
        *,
        environ: Mapping[str, str] | None = None,
        is_usable: Callable[[], bool] = metal_is_usable,
        measure: Callable[[TwinKernel, Shape, mx.Dtype], Verdict] = probe,
    ) -> None:
        self._store = store
        self._environ = os.environ if environ is None else environ
        self._is_usable = is_usable
        self._measure = measure
        self._verdicts: dict[tuple[object, ...], Verdict] = {}
        self._failed: dict[str, Verdict] = {}

    def choose(self, twins: TwinKernel, shape: Shape, dtypes: tuple[mx.Dtype, ...]) -> Form:
        """The form to call, for arrays of these dtypes."""
        return twins.metal if self.decide(twins, shape, dtypes).metal else twins.plain

    def decide(self, twins: TwinKernel, shape: Shape, dtypes: tuple[mx.Dtype, ...]) -> Verdict:
        """The verdict on the Metal form; measured when it is first asked for, at once even while a step is traced."""
        if refusal := self._refusal(dtypes):
            return Verdict(False, refusal)
        if failure := self._failed.get(twins.name):
            return failure
        # Asked at every call outside compiled functions: a key that costs nothing, and the store's own only once.
        case = (twins.name, dtypes[0], *shape.items())
        if case not in self._verdicts:
            key = verdict_key(twins, shape, dtypes[0])
            self._verdicts[case] = self._store.get(key) or self._try(twins, shape, dtypes[0], key)
        return self._verdicts[case]

    def report(self, twins: TwinKernel, dtype: mx.Dtype) -> KernelReport:
        """Decide at the kernel's typical shape, and say what was found."""
        verdict = self.decide(twins, twins.typical, (dtype,))
        chosen = "metal" if verdict.metal else "plain"
        name = str(dtype).removeprefix("mlx.core.")
        return KernelReport(twins.name, name, chosen, verdict.reason, verdict.max_error, verdict.speed_ratio)

    def _refusal(self, dtypes: tuple[mx.Dtype, ...]) -> str | None:
        if not self._is_usable():
            return "no Metal here"
        if self._environ.get(SWITCH) == "plain":
            return f"{SWITCH}=plain is set"
        if any(dtype != dtypes[0] or dtype not in DTYPES for dtype in dtypes):
            return "no kernel for " + " with ".join(sorted({str(dtype) for dtype in dtypes}))
        return None

    def _try(self, twins: TwinKernel, shape: Shape, dtype: mx.Dtype, key: str) -> Verdict:
        try:
            verdict = self._measure(twins, shape, dtype)
        # Whatever a compiler or driver we have never seen raises, plain MLX still works; doctor shows the reason.
        except Exception as error:
            verdict = Verdict(False, f"failed: {error}".strip().splitlines()[0])
        if verdict.speed_ratio is None:
            logger.warning("kernel %s is not used: %s", twins.name, verdict.reason)
            # A wrong or failing kernel is out for this process at every shape, but gets a new chance in the next.
            self._failed[twins.name] = verdict
        else:
            self._store.put(key, verdict)
        return verdict


@cache
def default_chooser() -> Chooser:
    """The chooser of this process."""
    return Chooser(VerdictStore(default_paths().state / "kernels.json"))
