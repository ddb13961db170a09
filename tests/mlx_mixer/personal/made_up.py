"""Small libraries whose titles and texts share one word of two.

Nothing but these files says which word of a text goes with the other word of a title, so whoever has not learned from
them has to guess among the many passages with the shared word.
"""

import random
from itertools import product
from pathlib import Path

_TITLE_WORDS = """
    apple bridge candle desert engine feather garden hammer island jacket kettle ladder marble needle orange
    pencil quilt ribbon saddle table umbrella valley window yellow anchor basket copper dragon eagle flower grape
    harvest iron jungle knight lemon mirror night ocean paper
"""
TITLE_WORDS = _TITLE_WORDS.split()
_TEXT_WORDS = """
    random socket thread driver buffer kernel packet cursor folder signal schema vector binary syntax parser
    filter compiler library monitor network process query server string terminal upload virtual widget archive
    backup cache daemon editor format graph header index journal keyboard login
"""
TEXT_WORDS = _TEXT_WORDS.split()
_SHARED_WORDS = """
    plan note list story letter report idea visit lesson market season walk
"""
SHARED_WORDS = _SHARED_WORDS.split()
FILLER = "It was there when we came, and the others had a look at it before noon, as they often did in those days."


def write_files(folder: Path, count: int = 150, *, learnable: bool = True) -> Path:
    """Write files of three sections each.

    Args:
        folder: Where to.
        count: How many files.
        learnable: Whether the words of a text follow from those of its title; otherwise they are drawn by lot, and
            those of the title are of no use to find it.
    """
    rng = random.Random(0)
    titles = list(product(SHARED_WORDS, range(len(TITLE_WORDS))))
    rng.shuffle(titles)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        parts = [f"# File {number}\n"]
        for _ in range(3):
            shared, topic = titles.pop()
            told = TEXT_WORDS[topic if learnable else rng.randrange(len(TEXT_WORDS))]
            title = f"{shared} {TITLE_WORDS[topic]}"
            about = shared if learnable else rng.choice(SHARED_WORDS)
            text = f"{about} beside {told} and {rng.choice(('ponds', 'hills', 'roads'))}. " * 3
            # What all have in common comes first: with words of another text behind it, it would look like a copy.
            parts.append(f"## {title}\n\n{FILLER} {text.strip()}\n")
        (folder / f"note{number}.md").write_text("\n".join(parts), encoding="utf-8")
    return folder
