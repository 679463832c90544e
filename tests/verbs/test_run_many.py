"""Comparisons of many commands: kept answers, order, failures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from swath.errors import SwathError
from swath.verbs import run_many
from swath.verbs.run_many import Answer, Run, kept_answers, run_all


def test_a_real_verb_answers_once_and_is_kept(tmp_path: Path) -> None:
    runs = [Run("presets", ("inspect", "--layouts", "true"))]
    seen: list[str] = []
    first = run_all(runs, tmp_path, progress=lambda n, of, run, _: seen.append(f"{n}/{of} {run.name}"))
    assert seen == ["1/1 presets"]
    answer = first["presets"]
    assert answer.result and answer.seconds > 0 and answer.peak_bytes > 1 << 20 and answer.device_bytes == 0
    assert run_all(runs, tmp_path) == first  # seconds are those of the first time: nothing was run
    assert json.loads((tmp_path / "presets.json").read_text())["command"] == "swath inspect --layouts true"
    assert not list(tmp_path.glob(".*"))


def test_other_words_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"key": "other", "seconds": 1.0, "peak_bytes": 1, "result": {"old": True}}
    (tmp_path / "a.json").write_text(json.dumps(kept))
    done = CompletedProcess([], 0, stdout='{"new": true}', stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert kept_answers([Run("a", ("inspect",))], tmp_path) == {}
    assert run_all([Run("a", ("inspect",))], tmp_path)["a"].result == {"new": True}
    monkeypatch.undo()
    answers = run_all([Run("a", ("inspect",))], tmp_path)
    assert answers["a"].result == {"new": True}
    assert kept_answers([Run("a", ("inspect",)), Run("b", ("inspect",))], tmp_path) == answers


def test_a_failing_verb_says_its_own_words_and_others_stay(tmp_path: Path) -> None:
    runs = [
        Run("good", ("inspect",)),
        Run("bad", ("inspect", str(tmp_path / "none.tif")), after=("good",)),
    ]
    kept = {"key": runs[0].key, "seconds": 1.0, "peak_bytes": 1, "result": {}}
    (tmp_path / "good.json").write_text(json.dumps(kept))
    with pytest.raises(SwathError, match=r"none\.tif.*try the command alone: swath inspect"):
        run_all(runs, tmp_path)
    assert (tmp_path / "good.json").exists() and not (tmp_path / "bad.json").exists()


def test_what_waits_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def answer(run: Run, folder: Path, threads: int) -> Answer:
        order.append(run.name)
        return Answer({}, 0.0, 0)

    monkeypatch.setattr(run_many, "_answer", answer)
    runs = [Run("a", ()), Run("b", (), ("a",)), Run("c", ()), Run("d", (), ("b", "c"))]
    assert set(run_all(runs, tmp_path, jobs=3)) == {"a", "b", "c", "d"}
    assert order.index("b") > order.index("a") and order.index("d") == 3


def test_an_impossible_order_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="waits for b"):
        run_all([Run("a", (), ("b",)), Run("b", ())], tmp_path)
    with pytest.raises(ValueError, match="twice"):
        run_all([Run("a", ()), Run("a", ())], tmp_path)


def test_what_was_held_on_a_gpu_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(words: list[str], **_: object) -> CompletedProcess[str]:
        Path(words[3]).write_text("7000000 9000000")
        return CompletedProcess([], 0, stdout="{}", stderr="")

    monkeypatch.setattr(subprocess, "run", verb)
    runs = [Run("a", ("inspect",))]
    answer = run_all(runs, tmp_path)["a"]
    assert (answer.peak_bytes, answer.device_bytes) == (7_000_000, 9_000_000)
    assert kept_answers(runs, tmp_path)["a"] == answer
    old = json.loads((tmp_path / "a.json").read_text())
    del old["device_bytes"]
    (tmp_path / "a.json").write_text(json.dumps(old))
    assert kept_answers(runs, tmp_path)["a"].device_bytes == 0


def test_a_damaged_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SwathError, match=r"a\.json"):
        run_all([Run("a", ("inspect",))], tmp_path)


def test_failures_that_are_wanted_stop_only_what_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(run: Run, folder: Path, threads: int) -> Answer:
        if run.name == "bad":
            raise SwathError("cannot be")
        return Answer({}, 0.0, 0)

    monkeypatch.setattr(run_many, "_answer", answer)
    runs = [
        Run("bad", ()),
        Run("b", (), ("bad",)),
        Run("c", (), ("b",)),
        Run("good", ()),
        Run("e", (), ("good",)),
    ]
    failures: dict[str, SwathError] = {}
    assert set(run_all(runs, tmp_path, failures=failures)) == {"good", "e"}
    assert list(failures) == ["bad"] and "cannot be" in str(failures["bad"])
    with pytest.raises(SwathError, match="cannot be"):
        run_all(runs, tmp_path)


def test_a_command_that_was_killed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, stderr, words in (
        (-9, "train: 3 records\n", "was ended by SIGKILL, as by a machine that is short of memory"),
        (-15, "", "was ended by SIGTERM; try"),
        (1, "train: 3 records\nKeyError: 'a'\n", "KeyError: 'a'"),
        (3, "", "ended with code 3"),
        (2, "error: mine\nmore\n", "mine; try"),
    ):
        done = CompletedProcess([], code, stdout="", stderr=stderr)
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        with pytest.raises(SwathError) as caught:
            run_all([Run("a", ("inspect",))], tmp_path)
        assert words in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel tells nothing of processes here")
def test_a_command_ends_with_the_comparison_that_was_killed(tmp_path: Path) -> None:
    # In place of a verb: the command says which process it is, and goes on for long.
    body = "import sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(100)"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from swath.verbs import run_many\n"
        f"run_many._MEASURED = run_many._TOGETHER + {body!r}\n"
        "run_many.run_all([run_many.Run('a', ('inspect',))], Path(sys.argv[1]))\n"
    )
    comparison = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        said = tmp_path / ".a.peak"
        until(lambda: said.exists() and said.read_text().endswith(" "))
        command = int(said.read_text())
        assert alive(command)
    finally:
        comparison.kill()
        comparison.wait()
    until(lambda: not alive(command))


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and was not asked for its end does not."""
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
