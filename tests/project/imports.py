"""Which files of lapse a stage runs: its method of Workspace, and everything that this imports, also inside functions.

python -m tests.project.imports        writes the deps of every stage in dvc.yaml anew
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
WORKSPACE = SRC / "lapse" / "workspace.py"


def modules_in(tree: ast.AST) -> set[str]:
    """Return the names of lapse's modules that a piece of code imports; what only type checkers read does not count."""
    found = set()
    for node in _run(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lapse":
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "lapse"}
    return found


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _run(child)


def imported_modules(path: Path) -> set[str]:
    """Return the names of lapse's modules that a Python file imports itself."""
    return modules_in(ast.parse(path.read_text(encoding="utf-8")))


def file_of(module: str) -> Path | None:
    """Return the file of a module; None for a name that is no module, and for an empty package."""
    base = SRC / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists() and path.stat().st_size:
            return path
    return None


def import_closure(modules: set[str]) -> set[Path]:
    """Return every file of lapse that runs when these modules are imported; Workspace alone is not followed."""
    seen: set[Path] = set()
    waiting = set(modules)
    while waiting:
        file = file_of(waiting.pop())
        if file and file not in seen:
            seen.add(file)
            waiting |= imported_modules(file) if file != WORKSPACE else set()
    return seen


def stage_methods(stage: str) -> list[ast.FunctionDef]:
    """Return the method of Workspace that runs a stage, and those of its methods that it uses."""
    tree = ast.parse(WORKSPACE.read_text(encoding="utf-8"))
    workspace = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Workspace")
    methods = {node.name: node for node in workspace.body if isinstance(node, ast.FunctionDef)}
    seen: list[str] = []
    waiting = [stage, "__init__"]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in methods:
            seen.append(name)
            waiting += [
                node.attr
                for node in ast.walk(methods[name])
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            ]
    return [methods[name] for name in seen]


def stage_files(stage: str) -> set[Path]:
    """Return every file of lapse that a stage runs."""
    tree = ast.parse(WORKSPACE.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not isinstance(node, ast.ClassDef)]
    modules = imported_modules(ROOT / "pipelines" / f"{stage}.py") | modules_in(tree)
    for method in stage_methods(stage):
        modules |= modules_in(method)
    return import_closure(modules)


def dependency(path: Path) -> str:
    """Return what dvc.yaml names for a file of lapse: its folder, or the file itself where it stands beside folders."""
    rooms = [child for child in path.parent.iterdir() if (child / "__init__.py").exists()]
    return str((path if rooms else path.parent).relative_to(ROOT))


def with_deps(stages: str) -> str:
    """Return the text of dvc.yaml with the code that each stage runs among its deps, in order."""

    def anew(found: re.Match[str]) -> str:
        script = Path(found["script"])
        others = [
            dep for dep in re.findall(r"- (\S+)\n", found["deps"]) if not dep.startswith("src/") and not dep.endswith(".py")
        ]
        runs = {str(script), *(dependency(path) for path in stage_files(script.stem))}
        return found["head"] + "".join(f"      - {dep}\n" for dep in sorted({*others, *runs}))

    stage = r"(?P<head>    cmd: python (?P<script>\S+)\n(?:    .*\n)*?    deps:\n)(?P<deps>(?:      - \S+\n)+)"
    return re.sub(stage, anew, stages)


if __name__ == "__main__":
    dvc_yaml = ROOT / "dvc.yaml"
    dvc_yaml.write_text(with_deps(dvc_yaml.read_text(encoding="utf-8")), encoding="utf-8")
