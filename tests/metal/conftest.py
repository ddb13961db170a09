"""Kernels run on Metal where there is Metal, and under the emulator elsewhere."""

from collections.abc import Iterator

import mlx.core as mx
import pytest

from mlx_mixer.kernels.metal_source import build
from tests.metal.compiler import Compiler
from tests.metal.stand_in import StandIn, emulated

HAS_METAL = mx.metal.is_available()


@pytest.fixture(scope="session")
def compiler(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Keeps what it compiled between runs in pytest's cache folder, unless pytest runs without one."""
    cache = getattr(pytestconfig, "cache", None)
    return Compiler(cache.mkdir("metal") if cache else tmp_path_factory.mktemp("metal"))


@pytest.fixture
def emulator(compiler: Compiler) -> Iterator[StandIn]:
    """The emulator in place of Metal, for tests about what it finds and counts."""
    if HAS_METAL:
        pytest.skip("the emulator stands in for Metal, and here is Metal")
    build.cache_clear()
    with emulated(compiler) as stand_in:
        yield stand_in
    build.cache_clear()


@pytest.fixture
def metal(request: pytest.FixtureRequest) -> None:
    """Something that runs Metal kernels, for tests about their results."""
    if not HAS_METAL:
        request.getfixturevalue("emulator")
