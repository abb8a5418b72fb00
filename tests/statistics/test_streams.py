import os
import subprocess
import sys

import numpy as np
import pytest

from factory.statistics import stream


def test_the_same_name_gives_the_same_numbers() -> None:
    first, again = stream(7, 0, "a", 3).random(5), stream(7, 0, "a", 3).random(5)
    assert first.tolist() == again.tolist()


@pytest.mark.parametrize("other", [(8, 0, "a", 3), (7, 1, "a", 3), (7, 0, "b", 3), (7, 0, "a", 4)])
def test_every_part_of_the_name_counts(other: tuple[int, int, str, int]) -> None:
    assert stream(7, 0, "a", 3).random(5).tolist() != stream(*other).random(5).tolist()


def test_streams_are_uncorrelated() -> None:
    n = 4000
    streams = np.array([stream(1, 0, f"source {i}").random(n) for i in range(20)])
    correlations = np.corrcoef(streams)[np.triu_indices(20, 1)]
    # 190 pairs, normal with standard deviation 1/sqrt(n): 5 sigma is 1e-4 over all of them.
    assert float(np.abs(correlations).max()) < 5 / n**0.5


def test_another_process_draws_the_same() -> None:
    code = (
        "from factory.statistics import stream; print(stream(7, 2, 'chat', 5).random(3).tolist())"
    )
    here = str(stream(7, 2, "chat", 5).random(3).tolist())
    for hash_seed in ("0", "123"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here
