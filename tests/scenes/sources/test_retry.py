from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import InputError, ReadError
from swath.scenes.sources.retry import is_final, retrying, waits
from swath.scenes.sources.spec import RetryOptions


class Flaky:
    def __init__(self, failures: int, text: str = "HTTP response code: 503") -> None:
        self.failures, self.text, self.calls = failures, text, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise InputError(self.text, where="there", mend="wait") from OSError(self.text)
        return self.calls


@given(st.integers(0, 8), st.integers(0, 8))
def test_it_is_tried_as_often_as_stated(failures: int, times: int) -> None:
    action, slept, let_go = Flaky(failures), [], []
    options = RetryOptions(times=times, wait=1.0, longest=4.0)

    def run() -> int:
        return retrying(
            action, options, remote=True, again=lambda: let_go.append(1), sleep=lambda s: slept.append(s)
        )

    if failures <= times:
        assert run() == failures + 1
    else:
        with pytest.raises(ReadError, match=f"{times + 1} times") as caught:
            run()
        assert caught.value.where == "there" and caught.value.mend == "wait"
    assert action.calls == min(failures, times) + 1
    assert len(slept) == len(let_go) == min(failures, times)
    assert all(0.75 * min(2**i, 4) <= s <= 1.25 * min(2**i, 4) for i, s in enumerate(slept))


def test_what_lies_here_or_is_gone_for_good_is_tried_once() -> None:
    for text, remote in (
        ("HTTP response code: 503", False),
        ("HTTP response code: 404", True),
        ("HTTP 403", True),
    ):
        action = Flaky(1, text)
        with pytest.raises(InputError) as caught:
            retrying(action, RetryOptions(), remote=remote, sleep=lambda s: None)
        assert action.calls == 1 and not isinstance(caught.value, ReadError)


@pytest.mark.parametrize(
    "text", ["HTTP response code: 500", "HTTP response code: 429", "CURL error: reset", "404 rows"]
)
def test_what_may_come_back_is_not_final(text: str) -> None:
    assert not is_final(ReadError(text))
    assert is_final(InputError(text)), "said by our own checks, not by a library that failed"


def test_processes_do_not_come_back_together() -> None:
    assert len({waits(RetryOptions(), pid)[0] for pid in range(1000, 1008)}) == 8
