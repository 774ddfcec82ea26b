"""The order in which training examples are seen: batches of like length, the same after a resume."""

import random
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Sampler

POOL = 32  # batches that are sorted together: enough for like lengths, few enough to keep the order random


class LengthBucketSampler(Sampler[int]):
    """Shuffle, sort pools of `POOL` batches by length, and shuffle the batches again.

    The order depends on the seed and the epoch alone, never on the state of a global generator, so that a resumed
    run sees what the straight run would have seen. `epoch` is asked at the start of each pass.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed}:{self._epoch()}")
        order = list(range(len(self._lengths)))
        draw.shuffle(order)
        pool = POOL * self._batch_size
        batches = []
        for start in range(0, len(order), pool):
            like = sorted(order[start : start + pool], key=lambda index: self._lengths[index])
            batches += [like[at : at + self._batch_size] for at in range(0, len(like), self._batch_size)]
        # The one short batch must stay last: the loader cuts the sequence of indices every `batch_size`.
        short = [batch for batch in batches if len(batch) < self._batch_size]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        draw.shuffle(full)
        for batch in full + short:
            yield from batch
