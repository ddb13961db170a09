import pytest

from convert.hub.reference import Reference, looks_like_reference, parse_reference
from mlx_mixer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("ann/tiny", "ann/tiny", None),
        ("ann/tiny@v1.2", "ann/tiny", "v1.2"),
        ("a-b/c_d.e@refs/pr/1", "a-b/c_d.e", "refs/pr/1"),
        (f"ann/tiny@{'a' * 40}", "ann/tiny", "a" * 40),
    ],
)
def test_a_repository_is_named_by_owner_name_and_revision(text: str, repo: str, revision: str | None) -> None:
    assert parse_reference(text) == Reference(repo, revision)
    assert str(parse_reference(text)) == text


@pytest.mark.parametrize(
    "text",
    ["tiny", "/ann/tiny", "ann/", "ann/tiny/more", "./ann", "../ann", "~/ann", "ann/tiny@", "ann/..", "ann/a--b",
     "ann/x.bin", "ann/tiny@../x", "ann/tiny@a//b", "ann/tiny\n", "ann/ti ny", "ann/x.safetensors", "a" * 97 + "/b",
     "ann/tiny@-x"],
)  # fmt: skip
def test_what_looks_like_a_path_or_breaks_the_hubs_rules_names_none(text: str) -> None:
    assert not looks_like_reference(text)
    with pytest.raises(UsageError, match="OWNER/NAME"):
        parse_reference(text)
