"""What `mlx-mixer convert` shows of a conversion: how far it is, and what came of it."""

from collections.abc import Mapping
from time import monotonic as _now
from typing import Any, Self

from mlx_mixer.cli.output import human_bytes, narrate, print_foreign, print_json
from mlx_mixer.cli.transfer_bar import TransferBar

# Nobody needs to watch what is over in a moment.
QUIET_SECONDS = 1.0
SECONDS_BETWEEN = 0.1


class ConversionBar:
    """Called with source bytes done and in all, shows a line on stderr once that takes a while; a context manager.

    Args:
        name: Of the source.
        bar: What draws the line.
    """

    def __init__(self, name: str, bar: TransferBar | None = None) -> None:
        self._name = name
        self._bar = bar or TransferBar()
        self._next: float | None = None
        self._is_shown = False

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def __call__(self, done: int, total: int) -> None:
        """Show where things are; once all is converted, that the result is compared with its source."""
        if self._next is None:
            # Counted from here: before, MLX is imported.
            self._next = _now() + QUIET_SECONDS
        is_done = done == total and self._is_shown
        if is_done or _now() >= self._next:
            self._next, self._is_shown = _now() + SECONDS_BETWEEN, True
            self._bar({"stage": "check" if is_done else "convert", "file": self._name, "done": done, "total": total})


def show_report(report: Any, sent: Mapping[str, Any] | None, *, as_json: bool) -> None:
    """Print what a conversion did.

    Args:
        report: A `convert.ConversionReport`; the library does not know the converter.
        sent: What `--upload` did, if it was given.
        as_json: Whether to print JSON.
    """
    proof = report.verification
    if as_json:
        print_json(
            {
                "family": report.family,
                "config": report.config.to_dict(),
                "out": str(report.out),
                "parameters": report.parameters,
                "files": [str(file) for file in report.files],
                "source_bytes": report.source_bytes,
                "bytes": report.bytes,
                "verification": None if proof is None else vars(proof),
                "warnings": list(report.warnings),
                "seconds": round(report.seconds, 3),
                **({} if sent is None else {"upload": dict(sent)}),
            }
        )
        return
    for warning in report.warnings:
        narrate(f"note: {warning}")
    sizes = f"{human_bytes(report.source_bytes)} -> {human_bytes(report.bytes)}"
    print_foreign(f"{report.out}  {report.family}, {report.parameters:,} parameters, {sizes}, {report.seconds:.1f} s")
    if proof is not None:
        print_foreign(_proof_line(proof))


def _proof_line(proof: Any) -> str:
    line = f"agrees with its source: difference {proof.max_error:.1e}, allowed {proof.tolerance:.0e}"
    if proof.perplexity_source is None:
        return line
    return f"{line}; perplexity {proof.perplexity_source:.4g} before, {proof.perplexity_converted:.4g} after"
