"""Changing single settings of a params.yaml; its other lines and its comments stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from lapse.core.files import write_text


def load_commented(text: str) -> Any:
    """Return the content of a params.yaml with its comments, to be changed and dumped."""
    return _yaml().load(text)


def dump_commented(content: Any) -> str:
    """Return the text of a commented content."""
    out = StringIO()
    _yaml().dump(content, out)
    return out.getvalue()


def write_settings(params: Path, values: Mapping[str, Any]) -> None:
    """Write settings into a params.yaml, by their dotted names: churn.horizon_days."""
    content = load_commented(params.read_text(encoding="utf-8"))
    for name, value in values.items():
        *sections, last = name.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[last] = value
    write_text(params, dump_commented(content))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 125
    return yaml
