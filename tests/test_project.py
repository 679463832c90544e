"""What holds the project together: dependencies, licences, make targets, versions, recipes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import swath
from swath.errors import ConfigError
from swath.verbs import registry
from swath.verbs.config import load_config
from swath.verbs.yaml_file import recipe_title, recipe_verb, recipes

REPOSITORY = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
RUNTIME = [Requirement(r) for r in PYPROJECT["project"]["dependencies"]]
TOOLS = [Requirement(r) for r in PYPROJECT["project"]["optional-dependencies"]["test"]]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(r.name) for r in requirements}


def pins() -> dict[str, str]:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    return {canonicalize_name(n): v for n, v in (line.split("==") for line in lines)}


def test_the_licence_table_lists_every_dependency() -> None:
    first, second = read("docs/dependencies.md").split("For tests only")
    for text, requirements in ((first, RUNTIME), (second, TOOLS)):
        rows = re.findall(r"^\| ([\w-]+) \|[^|]+\| ([^|]+) \|$", text, re.MULTILINE)
        table = {canonicalize_name(n): licence.strip() for n, licence in rows if n != "package"}
        assert set(table) == names(requirements)
        assert all(table.values())
        assert not any(re.search(r"\bA?L?GPL", licence) for licence in table.values())


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    pinned = pins()
    for requirement in RUNTIME + TOOLS:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
        assert not {s.operator for s in requirement.specifier} & {"<", "<=", "==", "~="}, requirement


def test_what_must_never_be_installed_is_not() -> None:
    lightning = next(r for r in RUNTIME if r.name == "pytorch-lightning")
    assert not lightning.specifier.contains("2.6.2")
    assert not lightning.specifier.contains("2.6.3")
    assert not names(RUNTIME + TOOLS) & {"lightning", "torchvision", "timm", "torchgeo"}


def test_versions_agree() -> None:
    assert f"\nversion: {swath.__version__}\n" in read("CITATION.cff")
    assert "## [Unreleased]" in read("CHANGELOG.md")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_every_make_target_is_described_and_can_be_planned() -> None:
    makefile = read("Makefile")
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert {"demo", "demo-full", "demo-series", "test", "test-slow", "test-oldest", "lint"} <= targets
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    for target in targets:
        done = subprocess.run(
            ["make", "-n", target],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert target in ("help", "install") or f"#   make {target} " in makefile
    plan = subprocess.run(
        ["make", "-n", "-W", "pyproject.toml", "test"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for word in (
        "-m venv",
        '-c constraints.txt -e ".[test]"',
        "ruff check",
        "mypy",
        "lint-imports",
        "pytest",
    ):
        assert word in plan


def test_the_whole_check_runs_both_suites() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text("utf-8")
    assert "set -euo pipefail" in text
    assert re.search(r"^make test$", text, re.MULTILINE)
    assert re.search(r"^make test-slow$", text, re.MULTILINE)


def test_documents_speak_of_the_project_alone() -> None:
    paths = [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "src").rglob("*.*"),
    ]
    for path in paths:
        if path.suffix in {".md", ".py", ".yaml", ".toml", ".json"}:
            found = re.search(r"/work/|/root/|/home/\w|\.\./shared|/tmp/", path.read_text("utf-8"))
            assert found is None, f"{path.relative_to(REPOSITORY)} names a place on one machine: {found}"


def test_the_forbidden_imports_cover_every_room_of_the_bare_image() -> None:
    contract = next(c for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["id"] == "bare-gpu-image")
    covered = {m.removesuffix(".**") for m in contract["source_modules"]}
    for room in ("models", "feed", "pretraining", "tasks", "training"):
        assert f"swath.{room}" in covered


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_fits_its_verb(name: str) -> None:
    path = recipes()[name]
    assert recipe_title(path), f"{path.name}: the first line says in a comment what the recipe is for"
    verb = registry.find(recipe_verb(path)).load()
    try:
        load_config(verb.config, [name], verb=verb.verb.name)
    except ConfigError as e:
        # A recipe may leave the user's own paths open.
        assert "required option" in str(e)
