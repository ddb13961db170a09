"""The two kinds of models that chat: a mixer without a template, a transformer with one."""

import pytest

from mlx_mixer.chat.writers import LmWriter, MixerWriter, load_writer
from tests.tiny import tiny_model_folder
from tests.tiny_lm import tiny_llama_folder


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LmWriter:
    writer = load_writer(tiny_llama_folder(tmp_path_factory.mktemp("models") / "llama"))
    assert isinstance(writer, LmWriter)
    return writer


@pytest.fixture(scope="session")
def mixer(tmp_path_factory: pytest.TempPathFactory) -> MixerWriter:
    writer = load_writer(tiny_model_folder(tmp_path_factory.mktemp("models") / "mixer", context_length=256))
    assert isinstance(writer, MixerWriter)
    return writer
