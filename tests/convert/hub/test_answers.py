"""What a server may answer to a look: any JSON at all ends in a listing that is safe, or in one line."""

import copy
import json
from typing import Any

import pytest
from huggingface_hub import ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.hub.client import _listing, _search_row
from convert.hub.errors import explained
from convert.hub.listing import Listing, is_digest
from convert.hub.reference import Reference, is_commit
from mlx_mixer.errors import MixerError
from tests.convert.hub_server import Repo

REFERENCE = Reference("ann/tiny")
REPO = Repo({"model.safetensors": b"abc", "config.json": b"{}", "a/b.txt": b""})
ANSWER: dict[str, Any] = {
    "id": "ann/tiny",
    "sha": REPO.commit,
    "gated": False,
    "private": False,
    "siblings": REPO.siblings(),
    "cardData": {"license": "mit"},
    "tags": ["mlx"],
    "config": {"model_type": "llama"},
    "lastModified": "2026-01-02T03:04:05.000Z",
    "safetensors": {"parameters": {"F32": 1}, "total": 1},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("../x") | st.just("0" * 40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = [place for place in places(ANSWER) if place]


def changed(place: tuple[Any, ...], new: Any) -> dict[str, Any]:
    answer = copy.deepcopy(ANSWER)
    inside: Any = answer
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = new
    return answer


def check(answer: dict[str, Any]) -> Listing:
    with explained(REFERENCE, "looking"):
        return _listing(ModelInfo(**answer), REFERENCE)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_a_listing_is_safe_or_refused_wherever_it_was_changed(place: tuple[Any, ...], new: Any) -> None:
    try:
        listing = check(changed(place, new))
    except MixerError:
        return
    assert is_commit(listing.commit)
    for name, file in listing.files.items():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        assert file.size >= 0
        assert is_digest(file.digest)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_a_search_row_is_plain_json_or_refused(place: tuple[Any, ...], new: Any) -> None:
    try:
        with explained(None, "searching"):
            row = _search_row(ModelInfo(**changed(place, new)))
    except MixerError:
        return
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert isinstance(row["repo"], str)
    assert isinstance(row["parameters"], int | None)


def test_the_answer_that_was_changed_is_a_good_one() -> None:
    assert set(check(copy.deepcopy(ANSWER)).files) == {"model.safetensors", "config.json", "a/b.txt"}


def test_an_answer_that_nests_too_deeply_is_explained() -> None:
    with pytest.raises(MixerError, match="cannot be understood"), explained(None, "looking"):
        json.loads("[" * 200_000)
