"""One reader against many inputs, repeatable from a seed.

Every input is made from the campaign's seed and its own number, so a failure names the two and needs nothing else; its
bytes are kept all the same.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_mixer.errors import MixerError
from tests.fuzz.guard import GuardBrokenError, forget_peak, give_back_memory, memory_limit, peak_bytes, watched

SECONDS_PER_INPUT = 5.0
# What a reader may take beyond a multiple of the input's size, before anything is known to be wrong.
SPARE_BYTES = 96 << 20
BYTES_PER_INPUT_BYTE = 64
ADDRESS_SPACE = 2 << 30
MAX_MESSAGE = 700
PROGRESS_SECONDS = 10.0

Make = Callable[[random.Random], bytes]
# Reads one input; returns whether it was accepted, raises a MixerError where it was refused.
Read = Callable[[bytes], bool]
# Puts an input where the reader finds it; not watched.
Place = Callable[[bytes], object]


@dataclass
class Tally:
    """How a campaign went."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    messages: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        kinds = len(self.messages)
        return f"{self.inputs:,} inputs: {self.accepted:,} accepted, {self.refused:,} refused in {kinds} ways"


def wanted(least: int = 500) -> int:
    """How many inputs each reader gets; FUZZ_INPUTS says more."""
    return int(os.environ.get("FUZZ_INPUTS", least))


def seed() -> int:
    """The campaign's seed; FUZZ_SEED says another."""
    return int(os.environ.get("FUZZ_SEED", 0))


def run(
    name: str,
    make: Make,
    read: Read,
    folder: Path,
    *,
    place: Place | None = None,
    allowed: Path | None = None,
    share: float = 1.0,
) -> Tally:
    """Give a reader its inputs.

    Args:
        name: Of the reader.
        make: From a generator to an input.
        read: The reader.
        folder: Where a failing input is kept.
        place: Puts an input where the reader looks for it.
        allowed: Folder below which the reader may write.
        share: Of the inputs, how many this one gets; less than 1 for whole conversions.

    Raises:
        AssertionError: If an input crashes it, hangs it, makes it write elsewhere, run something, take too much
            memory, or raise anything but a `MixerError` of one printable line.
    """
    tally, base, last = Tally(), seed(), time.monotonic()
    give_back_memory()
    for number in range(max(1, round(share * wanted()))):
        raw = make(random.Random(f"{name} {base} {number}"))
        if place is not None:
            place(raw)
        forget_peak()
        before = peak_bytes()
        try:
            with memory_limit(ADDRESS_SPACE), watched(allowed, SECONDS_PER_INPUT):
                is_accepted = read(raw)
        except MixerError as error:
            problem = _bad_message(str(error))
            is_accepted = False
            # What an error quotes differs from input to input; how it ends does not.
            tally.messages.add("".join(letter for letter in str(error) if letter.isalpha())[-40:])
        except (Exception, GuardBrokenError) as error:
            problem = f"{type(error).__name__}: {error}"
            is_accepted = False
        else:
            problem = ""
        grown = peak_bytes() - before
        if not problem and grown > SPARE_BYTES + BYTES_PER_INPUT_BYTE * len(raw):
            problem = f"took {grown:,} bytes of memory for {len(raw):,} bytes of input"
        if problem:
            raise AssertionError(_report(name, base, number, raw, problem, folder))
        tally.inputs += 1
        tally.accepted += is_accepted
        tally.refused += not is_accepted
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            print(f"{name}: {tally}", file=sys.stderr, flush=True)
    if "FUZZ_INPUTS" in os.environ:
        print(f"{name}, seed {base}: {tally}", file=sys.stderr, flush=True)
    return tally


def _bad_message(message: str) -> str:
    if len(message) > MAX_MESSAGE:
        return f"a message of {len(message):,} characters: {message[:200]!r}"
    return "" if message.isprintable() else f"a message that is not one printable line: {message[:200]!r}"


def _report(name: str, base: int, number: int, raw: bytes, problem: str, folder: Path) -> str:
    kept = Path(os.environ.get("FUZZ_FAILURES", folder)) / f"{name.replace(' ', '_')}-{base}-{number}.bin"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(raw)
    return f"{name}: input {number} of seed {base}, kept as {kept}: {problem}"
