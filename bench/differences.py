"""How long it takes to mark where two answers differ, by length, as a ratio to reading the same words once.

python -m bench.differences
"""

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from annotate.differences import WORD, differences

LENGTHS = (500, 5_000, 20_000)  # words
REPEATS = 5


def texts(words: int) -> tuple[str, str]:
    """Two texts of made-up words, three in ten of which differ."""
    drawn = random.Random(7)
    left = [f"w{int(drawn.paretovariate(0.6)) % 3000}" for _ in range(words)]
    right = [word if drawn.random() < 0.7 else f"v{drawn.randrange(500)}" for word in left]
    return " ".join(left), " ".join(right)


def seconds(act: Callable[[], object]) -> float:
    """The median of a few measurements, of this thread's own time."""
    measured = []
    for _ in range(REPEATS):
        begun = time.thread_time()
        act()
        measured.append(time.thread_time() - begun)
    return statistics.median(measured)


def read(left: str, right: str) -> tuple[list[str], list[str]]:
    return WORD.findall(left), WORD.findall(right)


def main() -> None:
    print(f"{'words':>7} {'marking':>10} {'reading':>10} {'ratio':>7}")
    for words in LENGTHS:
        left, right = texts(words)
        marking = seconds(partial(differences, left, right))
        reading = seconds(partial(read, left, right))
        print(f"{words:>7,} {marking * 1000:>7.1f} ms {reading * 1000:>7.1f} ms {marking / reading:>7.1f}")


if __name__ == "__main__":
    main()
