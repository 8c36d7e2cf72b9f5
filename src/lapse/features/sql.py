"""SQL aggregates of features.sql: parsed as DuckDB has it, and written in Ibis, so that both engines compute them alike.

Only what is known here is translated: a kind of node, an argument of it, or a mixture of kinds of values that is not
known is refused. A property test compares what is translated with DuckDB's own answer to the same text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import ibis
import sqlglot
from sqlglot import expressions as sge

from lapse.core.errors import SettingsError
from lapse.features.family import share

LONGEST, DEEPEST = 2_000, 40
"""Characters and levels of an expression."""
NUMBER = re.compile(r"\d{1,18}|(?=[\d.]{2,19}$)\d+\.\d*|\d{1,3}(\.\d{1,6})?[eE][+-]?\d{1,2}")
"""Whole numbers and decimals of up to 18 digits, and numbers with an exponent."""
Kind = Literal["number", "flag", "text", "day", "nothing"]

ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    sge.Add: operator.add, sge.Sub: operator.sub, sge.Mul: operator.mul, sge.Div: share,
}  # fmt: skip
EQUALITIES: Mapping[type, Callable[[Any, Any], Any]] = {sge.EQ: operator.eq, sge.NEQ: operator.ne}
ORDERS: Mapping[type, Callable[[Any, Any], Any]] = {
    sge.LT: operator.lt, sge.LTE: operator.le, sge.GT: operator.gt, sge.GTE: operator.ge,
}  # fmt: skip
CONNECTIVES: Mapping[type, Callable[[Any, Any], Any]] = {sge.And: operator.and_, sge.Or: operator.or_}
AGGREGATES = (sge.Sum, sge.Avg, sge.Min, sge.Max, sge.Count)
COMPARING = (*EQUALITIES, *ORDERS)
TESTING = (sge.Is, sge.In, sge.Between)
BOTH = ("this", "expression")
ARGUMENTS: Mapping[type, tuple[str, ...]] = {
    **dict.fromkeys((*ARITHMETIC, *COMPARING, *CONNECTIVES), BOTH), sge.Div: (*BOTH, "safe"),
    **dict.fromkeys(AGGREGATES, ("this",)), sge.Count: ("this", "big_int"), sge.Filter: BOTH, sge.Where: ("this",),
    sge.Column: ("this",), sge.Identifier: ("this", "quoted"), sge.Star: (), sge.Neg: ("this",), sge.Not: ("this",),
    sge.Paren: ("this",), sge.Is: BOTH, sge.In: ("this", "expressions"), sge.Between: ("this", "low", "high"),
    sge.Case: ("ifs", "default"), sge.If: ("this", "true", "false"), sge.Nullif: BOTH,
    sge.Coalesce: ("this", "expressions", "is_nvl", "is_null"), sge.Literal: ("this", "is_string"),
    sge.Boolean: ("this",), sge.Null: (),
}  # fmt: skip
"""Every kind of node that is known, and every argument of it that is."""


def parsed(where: str, text: str) -> sge.Expression:
    """Return the syntax tree of an SQL aggregate; SettingsError, naming `where`, for what cannot be translated."""
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    if len(text) > LONGEST:
        raise SettingsError(f"{where}: {shown!r} is longer than {LONGEST:,} characters. Write the feature in Python.")
    try:
        trees = sqlglot.parse(text, read="duckdb")
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        trees = []
    if len(trees) != 1 or trees[0] is None:
        raise SettingsError(f"{where}: {shown!r} is no SQL expression.")
    tree = trees[0]
    for node in tree.walk():
        _require_known(where, node)
    for node in tree.walk():
        _require_place(where, node)
    if tree.find(*AGGREGATES) is None:
        raise SettingsError(f"{where}: {shown!r} aggregates nothing. Use sum, avg, min, max or count.")
    return tree


def aggregate(where: str, tree: sge.Expression, days: Any) -> Any:
    """Return a syntax tree as an Ibis aggregate of day rows; SettingsError for unknown columns and kinds that do not mix."""
    value = _Translation(where, days).of(tree)
    if kind_of(value) not in ("number", "flag"):
        raise SettingsError(f"{where}: it gives a {kind_of(value)}, and a feature is a number.")
    return value


def kind_of(value: Any) -> Kind:
    """Return what kind of value an Ibis expression has."""
    kind = value.type()
    if kind.is_boolean():
        return "flag"
    if kind.is_numeric():
        return "number"
    if kind.is_string():
        return "text"
    return "nothing" if kind.is_null() else "day"


def _require_known(where: str, node: sge.Expression) -> None:
    allowed = ARGUMENTS.get(type(node))
    given = [name for name, value in node.args.items() if value not in (None, False, [])]
    if allowed is not None and (odd := [name for name in given if name not in allowed]):
        raise SettingsError(f"{where}: {type(node).__name__.upper()} with {odd[0]} ({node.sql(dialect='duckdb')[:80]}) is "
                            "not possible here. Write it without.")  # fmt: skip
    if allowed is None or (isinstance(node, sge.Star) and not isinstance(node.parent, sge.Count)):
        raise SettingsError(f"{where}: {type(node).__name__.upper()} is not possible here. Use sum, avg, min, max and "
                            "count over the table's columns and age, with FILTER, CASE and arithmetic; or write the "
                            "feature in Python: pipelines/own_features/README.md.")  # fmt: skip
    if node.depth > DEEPEST:
        raise SettingsError(f"{where}: it is nested more than {DEEPEST} levels deep. Write the feature in Python.")
    if isinstance(node, sge.Literal) and not node.is_string and not NUMBER.fullmatch(node.name):
        raise SettingsError(f"{where}: {node.name[:30]} is no number of up to 18 digits.")


def _require_place(where: str, node: sge.Expression) -> None:
    """Refuse what stands where it has no meaning, or another one to another parser."""
    inside = node.find_ancestor(*AGGREGATES, sge.Where)
    if isinstance(node, AGGREGATES) and inside is not None:
        raise SettingsError(f"{where}: one aggregate stands inside another.")
    if isinstance(node, sge.Column) and inside is None:
        raise SettingsError(f"{where}: {node.name} stands outside sum, avg, min, max and count.")
    if isinstance(node, sge.Filter) and not isinstance(node.this, AGGREGATES):
        raise SettingsError(f"{where}: FILTER belongs behind sum, avg, min, max or count.")
    counts_rows = isinstance(node, sge.Count) and isinstance(node.this, sge.Star)
    if isinstance(node, (*AGGREGATES, sge.Where)) and not counts_rows and node.find(sge.Column) is None:
        raise SettingsError(f"{where}: {node.sql(dialect='duckdb')} reads no column. To count rows: count(*).")
    bare = (*COMPARING, *TESTING, sge.Not, *CONNECTIVES)
    if isinstance(node, (*COMPARING, *TESTING)) and any(isinstance(child, bare) for child in node.iter_expressions()):
        raise SettingsError(f"{where}: {node.sql(dialect='duckdb')[:80]} can be read in two ways. Put brackets around what "
                            "belongs together.")  # fmt: skip


def _enclosed(value: Any) -> Any:
    """Return a flag as 0 or 1, which no NOT or comparison around it can be read into.

    Ibis writes `(NOT x) IS NULL` as `NOT x IS NULL`, which is the opposite of `x IS NULL`.
    """
    return value.cast("int64") if kind_of(value) == "flag" else value


class _Translation:
    """The translation of one expression over the day rows of a table."""

    def __init__(self, where: str, days: Any) -> None:
        self.where, self.days = where, days
        self.kinds: dict[type, Callable[[Any], Any]] = {
            **{kind: partial(self._both, function, ("number",)) for kind, function in ARITHMETIC.items()},
            **{kind: partial(self._both, function, ("number", "text", "flag")) for kind, function in EQUALITIES.items()},
            **{kind: partial(self._both, function, ("number", "text")) for kind, function in ORDERS.items()},
            **{kind: partial(self._both, function, ("flag",)) for kind, function in CONNECTIVES.items()},
            **dict.fromkeys(AGGREGATES, self._aggregated),
            sge.Filter: lambda node: self._aggregated(node.this, self.a("flag", node.expression.this)),
            sge.Column: self._column,
            sge.Literal: self._literal,
            sge.Boolean: lambda node: ibis.literal(bool(node.this)),
            sge.Null: lambda _: ibis.null(),
            sge.Paren: lambda node: self.of(node.this),
            sge.Neg: lambda node: -self.a("number", node.this),
            sge.Not: lambda node: ~self.a("flag", node.this),
            sge.Is: self._is,
            sge.In: self._is_in,
            sge.Between: self._between,
            sge.Case: lambda node: self._case(node.args["ifs"], node.args.get("default")),
            sge.If: lambda node: self._case([node], node.args.get("false")),
            sge.Coalesce: lambda node: ibis.coalesce(*self._alike([node.this, *node.expressions])),
            sge.Nullif: lambda node: operator.methodcaller("nullif", self.of(node.expression))(
                self._alike([node.this, node.expression])[0]
            ),
        }

    def of(self, node: Any) -> Any:
        """Return a node in Ibis."""
        return self.kinds[type(node)](node)

    def a(self, kind: Kind, node: Any) -> Any:
        """Return a node in Ibis; SettingsError when its value is of another kind."""
        value = self.of(node)
        if kind_of(value) != kind:
            raise self._refused(node, f"is a {kind_of(value)} where a {kind} is needed")
        return value

    def _refused(self, node: Any, why: str) -> SettingsError:
        return SettingsError(f"{self.where}: {node.sql(dialect='duckdb')[:80]} {why}.")

    def _both(self, function: Callable[[Any, Any], Any], kinds: tuple[Kind, ...], node: Any) -> Any:
        left, right = self.of(node.this), self.of(node.expression)
        found = {kind_of(left), kind_of(right)}
        if len(found) > 1 or not found <= set(kinds):
            raise self._refused(node, f"takes a {' and a '.join(sorted(found))}; for null write IS NULL")
        if isinstance(node, tuple(CONNECTIVES)):
            return function(left, right)
        return function(_enclosed(left), _enclosed(right))

    def _aggregated(self, node: Any, condition: Any = None) -> Any:
        if isinstance(node, sge.Count):
            of = self.days if isinstance(node.this, sge.Star) else self.of(node.this)
            return of.count(where=condition)
        value = self.of(node.this)
        if kind_of(value) not in ("number", "flag"):
            raise self._refused(node, f"takes a {kind_of(value)} where a number is needed")
        return getattr(value, "mean" if isinstance(node, sge.Avg) else node.key)(where=condition)

    def _column(self, node: Any) -> Any:
        if node.name not in self.days.columns:
            columns = ", ".join(sorted(self.days.columns))
            raise SettingsError(f"{self.where}: no column {node.name!r}. There are: {columns}.")
        return self.days[node.name]

    def _literal(self, node: Any) -> Any:
        if node.is_string:
            return ibis.literal(node.name)
        if node.name.isdigit():
            return ibis.literal(int(node.name), type="int64")
        if "e" in node.name.casefold() or node.find_ancestor(*AGGREGATES, sge.Where) is None:
            return ibis.literal(float(node.name))
        # A decimal, as in DuckDB: sums of floats would depend on the order of the rows.
        exact = Decimal(node.name).as_tuple()
        digits, scale = len(exact.digits), -int(exact.exponent)
        return ibis.literal(Decimal(node.name), type=f"decimal({max(digits, scale, 1)}, {scale})")

    def _is(self, node: Any) -> Any:
        if isinstance(node.expression, sge.Null):
            return _enclosed(self.of(node.this)).isnull()
        if not isinstance(node.expression, sge.Boolean):
            raise self._refused(node, "is not possible here: IS takes NULL, TRUE or FALSE")
        value = self.a("flag", node.this)
        return ibis.coalesce(value if node.expression.this else ~value, ibis.literal(False))  # noqa: FBT003

    def _is_in(self, node: Any) -> Any:
        value, *others = self._alike([node.this, *node.expressions], nulls=False)
        if kind_of(value) == "flag":
            raise self._refused(node, "takes a flag; write it with AND and OR")
        return value.isin(others)

    def _between(self, node: Any) -> Any:
        value, low, high = self._alike([node.this, node.args["low"], node.args["high"]], nulls=False)
        if kind_of(value) not in ("number", "text"):
            raise self._refused(node, f"takes a {kind_of(value)}")
        return value.between(low, high)

    def _case(self, branches: list[Any], default: Any) -> Any:
        results = self._alike([*(branch.args["true"] for branch in branches), *([default] if default else [])])
        conditions = [self.a("flag", branch.this) for branch in branches]
        pairs = list(zip(conditions, results, strict=False))
        return ibis.cases(*pairs, else_=results[-1] if default else ibis.null())

    def _alike(self, nodes: list[Any], *, nulls: bool = True) -> list[Any]:
        """Return nodes in Ibis whose values are of one kind, nulls aside."""
        values = [self.of(node) for node in nodes]
        found = {kind_of(value) for value in values}
        kinds = found - {"nothing"} if nulls else found
        if len(kinds) != 1 or kinds <= {"day", "nothing"}:
            raise self._refused(nodes[0].parent, f"mixes a {' and a '.join(sorted(found))}")
        return values
