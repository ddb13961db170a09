import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import mlx_lm
import pytest

from mlx_mixer.chat.writers import DEFAULT_CONTEXT, LmWriter, MixerWriter, _context_length, load_writer
from mlx_mixer.errors import CheckpointError, ModelNotFoundError, UnsupportedModelError
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.text import stream_generate
from tests.tiny_kinds import folder_of, retrieval_config
from tests.tiny_lm import tiny_llama_folder

GREEDY = SamplingSettings(temperature=0, repetition_penalty=1, max_tokens=24)


def tokens(writer: LmWriter | MixerWriter, prompt: str | list[int], settings: SamplingSettings = GREEDY) -> list[int]:
    return [chunk.token_id for chunk in writer.stream(prompt, settings) if chunk.token_id is not None]


def test_a_transformer_writes_what_mlx_lm_itself_writes(llama: LmWriter) -> None:
    model, tokenizer = mlx_lm.load(str(llama.folder))[:2]
    expected = list(mlx_lm.stream_generate(model, tokenizer, "The cache is", max_tokens=24))
    chunks = list(llama.stream("The cache is", GREEDY))
    assert [chunk.token_id for chunk in chunks] == [int(response.token) for response in expected]
    assert "".join(chunk.text for chunk in chunks) == "".join(response.text for response in expected)
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + [expected[-1].finish_reason]
    assert (chunks[-1].prompt_tokens, chunks[-1].generation_tokens, chunks[-1].context_length) == (12, 24, 2048)


def test_what_two_prompts_have_in_common_is_read_once_and_changes_nothing(llama: LmWriter) -> None:
    first = llama.encode("One long beginning that stays. And a question?")
    second = [*llama.encode("One long beginning that stays."), *llama.encode(" Another?")]
    fresh = load_writer(llama.folder)
    assert isinstance(fresh, LmWriter)
    expected = tokens(fresh, second)
    tokens(llama, first)
    reused = llama._take_up(second)
    assert reused == len("One long beginning that stays. An") - 1 or reused >= len("One long beginning that stays.")
    assert tokens(llama, second) == expected
    assert tokens(llama, second) == expected


def test_a_cancelled_answer_leaves_the_next_one_as_it_was(llama: LmWriter) -> None:
    expected = tokens(llama, "A question")
    asked = iter([False, False, True])
    chunks = list(llama.stream("A question", GREEDY, lambda: next(asked)))
    assert [chunk.finish_reason for chunk in chunks] == [None, None, None, "cancelled"]
    assert [chunk.token_id for chunk in chunks[:3]] == expected[:3]
    assert tokens(llama, "A question") == expected


def test_a_mixer_writes_what_generate_writes(mixer: MixerWriter) -> None:
    expected = stream_generate(mixer._model, mixer.tokenizer, "The cache", settings=GREEDY)
    assert tokens(mixer, "The cache") == [chunk.token_id for chunk in expected if chunk.token_id is not None]


def test_a_seed_repeats_an_answer(llama: LmWriter) -> None:
    settings = SamplingSettings(seed=3, max_tokens=12)
    assert tokens(llama, "Once", settings) == tokens(llama, "Once", settings)


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"text_config": {"max_position_embeddings": 600}}, 600),
        ({"max_position_embeddings": 0, "text_config": 3}, DEFAULT_CONTEXT),
        ({"max_position_embeddings": True, "n_positions": 77}, 77),
        ({}, DEFAULT_CONTEXT),
    ],
)
def test_the_context_is_what_the_config_says(config: dict[str, object], length: int) -> None:
    assert _context_length(config) == length


def test_what_cannot_write_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        load_writer(tmp_path / "nowhere")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "no_such_thing"}')
    with pytest.raises(UnsupportedModelError, match="'no_such_thing', which mlx-lm does not load") as caught:
        load_writer(strange)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnsupportedModelError, match="does not write"):
        load_writer(folder_of(tmp_path / "retrieval", retrieval_config()))
    (strange / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not a table of settings"):
        load_writer(strange)


def test_a_folder_that_asks_for_its_own_code_is_refused_without_a_question(tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    mark = tmp_path / "was_run"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    (folder / "config.json").write_text(json.dumps({**config, "model_file": "evil.py"}))
    with pytest.raises(UnsupportedModelError):
        load_writer(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    auto_map = {"auto_map": {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps({**config, **auto_map}))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **auto_map}))
    with contextlib.suppress(UnsupportedModelError):
        load_writer(folder)
    assert not mark.exists()


def test_loading_and_writing_open_no_connection(llama: LmWriter) -> None:
    """In a process of its own that is not told to stay offline: any look-up of a name ends it."""
    probe = (
        "import socket, sys\n"
        "def refuse(*_, **__):\n    print('CONNECTED'); raise SystemExit(9)\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "from mlx_mixer.chat.writers import load_writer\n"
        "from mlx_mixer.sampling import SamplingSettings\n"
        "writer = load_writer(Path(sys.argv[1]))\n"
        "print(len(list(writer.stream('a', SamplingSettings(max_tokens=2)))))\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run([sys.executable, "-c", probe, str(llama.folder)], capture_output=True, text=True, env=environ)
    assert done.stdout.split() == ["2"], done.stderr
