import pytest

from swath.words import counted


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
