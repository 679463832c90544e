"""The code in the documents runs, and the commands in them exist.

Blocks fenced as ```python run, in order and in one namespace per file. A block that takes longer is fenced as
```python slow and runs with the slow tests; one that cannot run says why: ```python skip="needs a cluster".
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from swath import cli
from swath.verbs import config, registry, schema
from swath.verbs.yaml_file import YamlFile

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
_FENCE = re.compile(r"^```(\w+)[ \t]*(.*?)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    info: str
    code: str
    line: int


def blocks(path: Path, *languages: str) -> list[Block]:
    text = path.read_text("utf-8")
    return [
        Block(m[1], m[2], m[3], text.count("\n", 0, m.start(3)))
        for m in _FENCE.finditer(text)
        if m[1] in languages
    ]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def execute(path: Path, found: list[Block]) -> None:
    namespace: dict[str, object] = {"__name__": "document"}
    for block in found:
        # Empty lines in front: a traceback then shows the line of the document.
        exec(compile("\n" * block.line + block.code, name(path), "exec"), namespace)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_python_in_documents_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(path, "python")
    for block in found:
        assert block.info in ("", "slow") or re.fullmatch(r'skip="[^"]+"', block.info), (
            f"{name(path)}:{block.line}: a python block may say slow, or skip with a reason"
        )
    monkeypatch.chdir(tmp_path)
    execute(path, [b for b in found if not b.info])


SLOW = [path for path in DOCUMENTS if any(b.info == "slow" for b in blocks(path, "python"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", SLOW, ids=name)
def test_slow_python_in_documents_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With recipes that train for a few steps only: what comes of the whole of them is the demo's test."""
    read = config.read_yaml

    def shortened(path: Path) -> YamlFile:
        file = read(path)
        if "training" in file.values:
            every = {
                key: 20 for key in ("validate_every", "checkpoint_every") if key in file.values["training"]
            }
            file.values["training"] |= {"steps": 40, "warmup_steps": 4, **every}
        return file

    monkeypatch.setattr(config, "read_yaml", shortened)
    monkeypatch.chdir(tmp_path)
    execute(path, [b for b in blocks(path, "python") if not b.info.startswith("skip")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_commands_in_documents_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    for block in blocks(path, "console", "bash", "sh"):
        for command in re.sub(r"\\\n", " ", block.code).splitlines():
            words = shlex.split(command.removeprefix("$ "), comments=True)
            if words[:1] == ["make"]:
                for target in (w for w in words[1:] if "=" not in w):
                    assert target in targets, f"{name(path)}: no target for '{command}'"
            elif words[:1] == ["swath"] and len(words) > 1 and not words[1].startswith("-"):
                verb = registry.find(words[1]).load()
                line = cli._split(verb, words[2:])
                for option in line.options:
                    key, left = schema.find(verb.config, option)
                    assert key is not None, f"{name(path)}: no option --{option} in '{command}'"
                    assert not left or key.free_form, f"{name(path)}: no option --{option} in '{command}'"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{name(path)}: {target} does not exist"
