import pytest

from swath.words import counted, size


@pytest.mark.parametrize(
    ("n", "what", "said"),
    [
        (1, "block", "1 block"),
        (0, "block", "0 blocks"),
        (2, "class", "2 classes"),
        (3, "square of 64 pixels", "3 squares of 64 pixels"),
        (1, "square of 64 pixels", "1 square of 64 pixels"),
    ],
)
def test_one_is_one_and_all_else_is_many(n: int, what: str, said: str) -> None:
    assert counted(n, what) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 MiB"), (3 << 19, "2 MiB"), ((1 << 30) - 1, "1024 MiB"), (3 << 29, "1.5 GiB")]
)
def test_bytes_are_said_in_mib_or_gib(count: int, said: str) -> None:
    assert size(count) == said
