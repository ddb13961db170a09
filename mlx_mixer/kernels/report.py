"""Every kernel of ours, tried on this machine."""

from mlx_mixer.kernels.choose import DTYPES, Chooser, KernelReport, default_chooser
from mlx_mixer.kernels.masked_matmul import MASKED_MATMUL_TWINS, MASKED_OUTER_TWINS, MASKED_TRANSPOSED_TWINS
from mlx_mixer.kernels.mix_step import MIX_STEP_TWINS
from mlx_mixer.kernels.twins import TwinKernel

KERNELS: tuple[TwinKernel, ...] = (
    MIX_STEP_TWINS,
    MASKED_MATMUL_TWINS,
    MASKED_TRANSPOSED_TWINS,
    MASKED_OUTER_TWINS,
)


def kernel_reports(chooser: Chooser | None = None) -> list[KernelReport]:
    """Try each kernel in each dtype at its typical shape, for `mlx-mixer doctor`.

    Takes a second where there is Metal and the results are not known yet; nothing where there is none.
    """
    chooser = chooser or default_chooser()
    return [chooser.report(twins, dtype) for twins in KERNELS for dtype in DTYPES]
