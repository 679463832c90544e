"""The command line: quick help, one-line errors with exit code 2, and honest bugs."""

from __future__ import annotations

import errno
import json
import logging
import resource
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import swath
from swath import cli
from swath.errors import InputError
from swath.verbs import registry, yaml_file
from swath.verbs.registry import Verb


@dataclass(frozen=True)
class Training:
    """How to train."""

    steps: int = 10
    """Optimiser steps."""


@dataclass(frozen=True)
class DummyConfig:
    """Options of a verb that does nothing."""

    output: Path = Path("runs/dummy")
    """The folder of the run."""
    act: str = "echo"
    quick: bool = False
    threshold: float = 0.0
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class DummyResult:
    config: DummyConfig
    score: float = float("nan")

    def summary(self) -> str:
        return f"[{self.config.act}] {self.config.training.steps} {self.config.quick} {self.config.threshold}"


def run_dummy(config: DummyConfig) -> DummyResult | None:
    acts: dict[str, BaseException] = {
        "user": InputError("band B8A is missing", where="scene.tif", mend="add it"),
        "bug": ValueError("a bug"),
        "interrupt": KeyboardInterrupt(),
        "full": OSError(errno.ENOSPC, "No space left on device", "map.tif"),
        "large": MemoryError("9 bytes cannot be had"),
        "os": OSError(errno.EIO, "Input/output error"),
    }
    if config.act in acts:
        raise acts[config.act]
    return None if config.act == "nothing" else DummyResult(config)


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A verb `dummy`, a verb that is registered but missing, and one recipe for each."""
    module: Any = types.ModuleType("swath_dummy_verb")
    module.DummyConfig = DummyConfig
    module.run = run_dummy
    module.__spec__ = types.SimpleNamespace(name="swath_dummy_verb")
    monkeypatch.setitem(sys.modules, "swath_dummy_verb", module)
    verbs = {
        "dummy": Verb("dummy", "do nothing", module="swath_dummy_verb"),
        "absent": Verb("absent", "not there yet", module="swath.verbs.no_such_verb"),
    }
    monkeypatch.setattr(registry, "VERBS", verbs)
    recipe = tmp_path / "short-run.yaml"
    recipe.write_text("# A short run\nverb: dummy\ntraining: {steps: 3}\n")
    other = tmp_path / "other.yaml"
    other.write_text("# For another verb\nverb: absent\n")
    monkeypatch.setattr(yaml_file, "recipes", lambda: {"other": other, "short-run": recipe})
    yield recipe


def test_help_lists_the_verbs_that_exist_and_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert cli.main(words) == 0
        text = capsys.readouterr().out
        assert "dummy     do nothing" in text
        assert "not there yet" not in text
        assert "short-run  A short run" in text


@pytest.mark.parametrize(("act", "code"), [("echo", 0), ("user", 2), ("bug", 1), ("interrupt", 130)])
def test_a_program_that_calls_it_finds_loggers_and_warnings_as_they_were(act: str, code: int) -> None:
    class Mine(logging.Handler):
        closed = False

        def emit(self, record: logging.LogRecord) -> None: ...

        def close(self) -> None:
            self.closed = True
            super().close()

    root, mine = logging.getLogger(), Mine()
    names = ("", "swath", "rasterio", "py.warnings", "pytorch_lightning")
    root.addHandler(mine)
    before = [logging.getLogger(n).level for n in names], root.handlers[:], warnings.showwarning
    try:
        assert cli.main(["dummy", "--act", act, "--verbose"]) == code
        after = [logging.getLogger(n).level for n in names], root.handlers[:], warnings.showwarning
        assert after == before and not mine.closed
    finally:
        root.removeHandler(mine)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"swath {swath.__version__}\n"


def test_help_of_a_verb_shows_its_options_and_its_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dummy", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: swath dummy [RECIPE] [--OPTION VALUE ...]")
    for words in ("--training.steps", "Optimiser steps.", "The folder of the run.", "short-run", "--json"):
        assert words in text
    assert "For another verb" not in text


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "[echo] 10 False 0.0"),
        (["short-run"], "[echo] 3 False 0.0"),
        (["short-run", "--training.steps", "5"], "[echo] 5 False 0.0"),
        (["--training.steps=5", "short-run"], "[echo] 5 False 0.0"),
        (["--config", "short-run", "--quick", "true"], "[echo] 3 True 0.0"),
        (["--quick"], "[echo] 10 True 0.0"),
        (["--quick", "--threshold", "-99999"], "[echo] 10 True -99999.0"),
        (["--", "short-run"], "[echo] 3 False 0.0"),
        (["--verbose", "-v"], "[echo] 10 False 0.0"),
        (["--act", "nothing"], ""),
    ],
)
def test_words_become_a_config(words: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dummy", *words]) == 0
    assert capsys.readouterr().out.strip() == printed


def test_json_has_no_nan_and_no_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dummy", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["config"]["output"] == "runs/dummy"
    assert result["score"] is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dumy"], "error: unknown verb 'dumy'; did you mean 'dummy'?"),
        (["absent"], "error: unknown verb 'absent'; the verbs are: dummy"),
        (["--quick"], "error: --quick: options come after the verb; try 'swath VERB --help'"),
        (["dummy", "--quik", "true"], "error: --quik: unknown option; did you mean '--quick'?"),
        (["dummy", "--quik"], "error: --quik: unknown option; did you mean '--quick'?"),
        (["dummy", "--jsom"], "error: --jsom: unknown option; did you mean '--json'?"),
        (["dummy", "-q"], "error: -q: unknown option; options are written --NAME VALUE"),
        (["dummy", "--output"], "error: --output: needs a value; write --output VALUE"),
        (["dummy", "--config"], "error: --config: needs a value; write --config VALUE"),
        (["dummy", "--output", "--quick"], "error: --output: needs a value; write --output VALUE"),
        (
            ["dummy", "short-run", "again"],
            "error: 'again' is one word too many after 'swath dummy RECIPE'; "
            "options are written --NAME VALUE",
        ),
        (["dummy", "shortrun"], "error: no recipe is called 'shortrun'; did you mean 'short-run'?"),
        (
            ["dummy", "--training.steps", "many"],
            "error: --training.steps: 'training.steps' must be a whole number, not 'many'",
        ),
        (["dummy", "--act", "user"], "error: scene.tif: band B8A is missing; add it"),
        (
            ["dummy", "--act", "full"],
            "error: map.tif: No space left on device; check the name, its rights and the free space",
        ),
        (
            ["dummy", "--act", "large"],
            "error: memory does not suffice (9 bytes cannot be had); use smaller blocks or batches, or fewer workers",
        ),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.err == line + "\n"
    assert captured.out == ""


def test_verbose_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dummy", "--act", "user", "--verbose"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("error: scene.tif: band B8A is missing; add it\n")


@pytest.mark.parametrize("act", ["bug", "os"])
def test_a_bug_shows_its_traceback_and_asks_for_a_report(
    act: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dummy", "--act", act]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "This is a bug in swath" in error


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dummy", "--act", "interrupt"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def run(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", code] if code else ["-m", "swath", *words])]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_answers_in_half_a_second() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    # Processor time, which is the time on an idle machine: other work on this one must not turn the test red.
    assert min(times) < 0.5


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "torch numpy rasterio matplotlib sklearn jsonargparse rich yaml"
    code = f"import sys, swath.cli as c; c.main(['--help']); print(set('{heavy}'.split()) & set(sys.modules))"
    assert run(code=code).stdout.endswith("set()\n")


def test_real_verbs_import_no_torch_and_declare_their_options() -> None:
    code = """
import sys
from swath import cli
from swath.verbs import registry, schema
for verb in registry.available():
    loaded = registry.VERBS[verb.name].load()
    assert not {"torch", "rasterio", "matplotlib", "sklearn"} & set(sys.modules), verb.name
    keys = schema.keys(loaded.config)
    assert loaded.config.__dataclass_params__.frozen, verb.name
    assert callable(loaded.run), verb.name
    assert not set(cli.GLOBAL_OPTIONS) & set(keys), verb.name
    assert set(loaded.positional) <= {*keys, registry.RECIPE}, verb.name
    assert cli.main([verb.name, "--help"]) == 0
"""
    done = run(code=code)
    assert done.returncode == 0, done.stderr


def test_real_errors_have_no_traceback() -> None:
    done = run("no-such-verb")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown verb 'no-such-verb'; ")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error() -> None:
    command = f"'{sys.executable}' -m swath --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


def test_the_library_logs_to_stderr_and_others_keep_quiet() -> None:
    code = """
import logging, warnings
from swath import cli
cli._set_up_logging(verbose=False)
logging.getLogger("swath.training.run").info("step 1")
logging.getLogger("swath.training.run").debug("detail")
logging.getLogger("pytorch_lightning.utilities").warning("an advert")
warnings.warn("for developers")
"""
    done = run(code=code)
    assert done.stdout == ""
    assert done.stderr.strip() == "step 1"


@pytest.mark.parametrize(("verbose", "level"), [(False, "ERROR"), (True, None)])
def test_the_remarks_of_torch_are_for_developers_too(verbose: bool, level: str | None) -> None:
    code = f"""
import os
os.environ.pop("TORCH_CPP_LOG_LEVEL", None)
from swath import cli
cli._set_up_logging(verbose={verbose})
print(os.environ.get("TORCH_CPP_LOG_LEVEL"))
"""
    done = run(code=code)
    assert done.stdout.strip() == str(level)


def test_a_result_may_say_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Wrong:
        exit_code: int = 1

    monkeypatch.setattr(sys.modules["swath_dummy_verb"], "run", lambda config: Wrong())
    assert cli.main(["dummy", "--json", "true"]) == 1
    assert json.loads(capsys.readouterr().out) == {"exit_code": 1}
    assert cli.main(["dummy", "--json", "false"]) == 1
    assert capsys.readouterr().out == "exit_code: 1\n"


def test_an_option_of_a_list_adds_up_and_others_are_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class ListConfig:
        """Lists."""

        names: tuple[str, ...] = ()
        act: str = ""

    module = sys.modules["swath_dummy_verb"]
    monkeypatch.setattr(module, "DummyConfig", ListConfig)
    monkeypatch.setattr(module, "run", lambda config: config)
    for words, names in (
        ("--names a", ["a"]),
        ("--names a --names b --names=c", ["a", "b", "c"]),
        ("--act x --act y", []),
    ):
        assert cli.main(["dummy", "--json", *words.split()]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {"names": names, "act": "y" if "--act" in words else ""}


def test_a_recipe_is_known_in_whichever_place_it_stands() -> None:
    evaluate = Verb("evaluate", "score").load()
    for words in (["w.safetensors", "data.yaml"], ["data.yaml", "w.safetensors"]):
        line = cli._split(evaluate, words)
        assert (line.options, line.sources) == ({"weights": "w.safetensors"}, ["data.yaml"])
    line = cli._split(evaluate, ["scores.yml"])
    assert (line.options, line.sources) == ({}, ["scores.yml"])
    line = cli._split(evaluate, ["runs/unet"])
    assert (line.options, line.sources) == ({"weights": "runs/unet"}, [])
