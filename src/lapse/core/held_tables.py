"""Tables that an engine holds for a while: each owner's bear names that nobody else has, and go when it closes."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Self

import ibis.expr.types as ir

from lapse.core.engine import Engine

PREFIX = "lapse_held_{}_"
_NUMBERS = itertools.count(1)


class HeldTables:
    """The tables that one owner has an engine hold, from the first `hold` until the block ends."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.prefix = PREFIX.format(next(_NUMBERS))
        """What all their names begin with."""
        self._names: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def name(self, stem: str) -> str:
        """Return the engine's name for a table, which is dropped with the others."""
        full = f"{self.prefix}{stem}"
        self._names[full] = None
        return full

    def hold(self, expression: ir.Table, stem: str, order_by: str | None = None) -> ir.Table:
        """Compute a table now and hold its rows; those held under the same stem before are gone."""
        return self.engine.materialize(expression, self.name(stem), order_by)

    def close(self) -> None:
        """Drop all of them."""
        for name in self._names:
            self.engine.drop(name)
        self._names.clear()
