import pytest

from mlx_mixer.grounding.quotes import citations, find_quotes


def quoted(answer: str) -> list[str]:
    return [quote.text for quote in find_quotes(answer)]


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ('It says "let it rest" there.', ["let it rest"]),
        ("It says “let it rest”, and ‘fold it’.", ["let it rest", "fold it"]),
        ("Es sagt „lass es ruhen“ und »falte es«; on dit « pétrir ».", ["lass es ruhen", "falte es", " pétrir "]),
        ("Don't take it's word for ‘the baker’s dozen’ either.", ["the baker’s dozen"]),
        ('A 5" pipe and a 6" pipe.', []),
        ('An "open quotation\n\nends with its "paragraph".', ["paragraph"]),
        ("Call `trim(n)` or ``a ` b``.", ["trim(n)", "a ` b"]),
        ("```python\nreturn water\n```\n", ["return water\n"]),
        ('> let it rest\n> overnight [2]\n\nSo "yes".', ["let it rest\novernight", "yes"]),
        ('`say "hello" now`', ['say "hello" now']),
        ('Nothing: "", "--", ``.', []),
        ("", []),
    ],
)
def test_every_way_of_quoting_is_found_and_nothing_else(answer: str, texts: list[str]) -> None:
    assert quoted(answer) == texts


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ('It must "rest" [2].', [(2,)]),
        ('It must "rest." [2] Then "bake" [1, 3].', [(2,), (1, 3)]),
        ('According to [3], it must "rest".', [(3,)]),
        ('Bread is in [1]. It must "rest".', [()]),
        ('It must "rest". Soup is in [1].', [()]),
        ("> rest overnight [2]\n", [(2,)]),
        ("> rest overnight\n\n[2] says so.", [()]),
        ('"One" and "two" [4].', [(), (4,)]),
    ],
)
def test_the_numbers_beside_a_quotation_are_read(answer: str, cited: list[tuple[int, ...]]) -> None:
    assert [quote.cited for quote in find_quotes(answer)] == cited


def test_a_quotation_lies_where_it_says() -> None:
    answer = 'Yes: "let it rest" and `x = 1`.'
    assert [answer[quote.start : quote.end] for quote in find_quotes(answer)] == ["let it rest", "x = 1"]


def test_citations_are_listed_once_in_order() -> None:
    assert citations("See [3], [1, 2] and [3]; not [x] nor [1234].") == (3, 1, 2)
