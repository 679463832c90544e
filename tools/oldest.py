"""Print pip requirements: every dependency at the lowest version that pyproject.toml allows.

The test tools keep the versions of constraints.txt: what is tested is swath on old libraries, not old tools.
The linters are left out: they test no library, and want newer ones for themselves.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LINTERS = {"ruff", "mypy", "import-linter"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*>=\s*([0-9][0-9a-zA-Z.]*)")


def canonical(name: str) -> str:
    """A package name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lowest(requirements: list[str]) -> dict[str, str]:
    """The lower bound of each requirement; one without a bound is an error."""
    bounds = {}
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found is None:
            raise SystemExit(f"pyproject.toml: '{requirement}' has no lower bound")
        bounds[canonical(found[1])] = found[2]
    return bounds


def main() -> None:
    """Print one `name==version` a line."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    for name, version in lowest(project["dependencies"]).items():
        print(f"{name}=={version}")
    tools = lowest(project["optional-dependencies"]["test"])
    for line in (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines():
        if canonical(line.partition("==")[0]) in set(tools) - LINTERS:
            print(line)


if __name__ == "__main__":
    main()
