"""Which files of lapse a file imports, directly or through others, also inside functions.

python -m tests.project.imports        writes the deps of every stage in dvc.yaml anew
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


def imported_modules(path: Path) -> set[str]:
    """A Python file in, the names of the modules of lapse that it imports itself out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lapse":
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "lapse"}
    return found


def file_of(module: str) -> Path | None:
    """The name of a module in, its file out; None for a name that is no module, and for an empty package."""
    base = SRC / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists() and path.stat().st_size:
            return path
    return None


def import_closure(path: Path) -> set[Path]:
    """A Python file in, every file of lapse that it runs out."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        for module in imported_modules(waiting.pop()):
            file = file_of(module)
            if file and file not in seen:
                seen.add(file)
                waiting.append(file)
    return seen


def with_deps(stages: str) -> str:
    """The text of dvc.yaml in, the same with every file of lapse that a stage runs among its deps, in order, out."""

    def anew(found: re.Match[str]) -> str:
        script = found["script"]
        others = [dep for dep in re.findall(r"- (\S+)\n", found["deps"]) if not dep.endswith(".py")]
        runs = [script, *(str(path.relative_to(ROOT)) for path in import_closure(ROOT / script))]
        return found["head"] + "".join(f"      - {dep}\n" for dep in sorted([*others, *runs]))

    stage = r"(?P<head>    cmd: python (?P<script>\S+)\n(?:    .*\n)*?    deps:\n)(?P<deps>(?:      - \S+\n)+)"
    return re.sub(stage, anew, stages)


if __name__ == "__main__":
    dvc_yaml = ROOT / "dvc.yaml"
    dvc_yaml.write_text(with_deps(dvc_yaml.read_text(encoding="utf-8")), encoding="utf-8")
