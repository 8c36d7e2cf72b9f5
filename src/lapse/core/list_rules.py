"""The rules of lists in params: one SQL condition over the columns of one table, checked before anything runs.

A rule is comparisons of columns with values, joined by AND, OR and NOT, and a little arithmetic. Whatever is not named here
is refused, so that no rule reads a file, another table or a setting; and so is a comparison of values of different kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from lapse.core.errors import SettingsError
from lapse.core.tables.contract import Type, nearest

if TYPE_CHECKING:
    from sqlglot import expressions as sql

Kind = Literal["number", "text", "flag", "date", "nothing"]
KINDS: Mapping[Type, Kind] = {
    "text": "text", "timestamp": "date", "date": "date", "decimal": "number", "count": "number", "flag": "flag",
    "number": "number",
}  # fmt: skip
LONGEST, DEEPEST = 2_000, 40
"""Characters and levels of a rule."""
HELP = ("Use columns, values, =, <>, <, <=, >, >=, IN, BETWEEN, LIKE, IS NULL, AND, OR, NOT, + - * /, coalesce, abs, lower "
        "and upper.")  # fmt: skip


def checked_rule(text: str, columns: Mapping[str, Type], where: str) -> str:
    """Return a rule as safe DuckDB SQL over columns with these types.

    SettingsError names the setting and what is wrong: no SQL, something that a rule may not do, an unknown column with the
    nearest names, kinds of values that do not mix, or a rule that is no condition.
    """
    import sqlglot

    if len(text) > LONGEST or "\0" in text:
        raise SettingsError(f"{where}: the rule is longer than {LONGEST:,} characters or holds a NUL. {HELP}")
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
        too_deep = any(node.depth > DEEPEST for tree in trees for node in tree.walk())
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        trees, too_deep = [], False
    if len(trees) != 1:
        raise SettingsError(f"{where}: {text!r} is not one SQL condition. {HELP}")
    if too_deep:
        raise SettingsError(f"{where}: the rule is nested more than {DEEPEST} levels deep. {HELP}")
    checker = _Checker(columns, where)
    checker.require(trees[0], "flag")
    checked: str = trees[0].sql(dialect="duckdb", comments=False)
    return checked


def checked_order(text: str, columns: Mapping[str, Type], where: str) -> tuple[str, bool]:
    """Return the column that a list is ordered by, and whether its smallest value comes first.

    Written `column`, the largest first, or `column asc`. SettingsError for anything else.
    """
    name, _, way = text.strip().partition(" ")
    if way.strip().casefold() not in ("", "asc", "desc"):
        raise SettingsError(f"{where}: {text!r} is no order. Write a column, or a column and asc for the smallest first.")
    if name not in columns:
        raise SettingsError(f"{where}: no column {name!r} to order by. {nearest(name, columns)}")
    return name, way.strip().casefold() == "asc"


class _Checker:
    """Finds the kind of every part of a rule, and refuses what has none."""

    def __init__(self, columns: Mapping[str, Type], where: str) -> None:
        from sqlglot import expressions as sql

        self.columns, self.where = columns, where
        pair = partial(self._parts, "this", "expression")
        self.kinds: dict[type, Callable[[Any], Kind]] = {
            sql.Column: self._column,
            sql.Paren: lambda node: self.of(node.this),
            sql.Literal: lambda node: "text" if node.is_string else "number",
            sql.Boolean: lambda _: "flag",
            sql.Null: lambda _: "nothing",
            sql.Cast: self._cast,
            **dict.fromkeys((sql.And, sql.Or), lambda node: self._all("flag", pair(node), "flag")),
            sql.Not: lambda node: self._all("flag", [node.this], "flag"),
            **dict.fromkeys(
                (sql.EQ, sql.NEQ, sql.LT, sql.LTE, sql.GT, sql.GTE), lambda node: self._compares(node, pair(node))
            ),
            sql.In: self._in,
            sql.Between: lambda node: self._compares(node, self._parts("this", "low", "high", node)),
            **dict.fromkeys((sql.Like, sql.ILike), lambda node: self._all("text", pair(node), "flag")),
            sql.Is: self._is,
            **dict.fromkeys((sql.Add, sql.Sub, sql.Mul, sql.Div), lambda node: self._all("number", pair(node), "number")),
            **dict.fromkeys((sql.Neg, sql.Abs), lambda node: self._all("number", [node.this], "number")),
            **dict.fromkeys((sql.Lower, sql.Upper), lambda node: self._all("text", [node.this], "text")),
            sql.Coalesce: lambda node: self._alike(node, [node.this, *node.expressions]),
        }

    def of(self, node: Any) -> Kind:
        """Return the kind of a node's value."""
        if type(node) not in self.kinds:
            raise self._refused(node, f"is not possible in a rule. {HELP.removesuffix('.')}")
        return self.kinds[type(node)](node)

    def require(self, node: Any, kind: Kind) -> None:
        """Raise SettingsError unless a node is of a kind."""
        found = self.of(node)
        if found not in (kind, "nothing"):
            raise self._refused(node, f"is a {found} where a {kind} is needed")

    @staticmethod
    def _parts(*names: Any) -> list[Any]:
        *keys, node = names
        return [node.args[key] for key in keys]

    def _all(self, kind: Kind, parts: list[Any], gives: Kind) -> Kind:
        for part in parts:
            self.require(part, kind)
        return gives

    def _compares(self, node: Any, parts: list[Any]) -> Kind:
        self._alike(node, parts)
        return "flag"

    def _in(self, node: Any) -> Kind:
        if not node.expressions or node.args.get("query") or node.args.get("unnest"):
            raise self._refused(node, "needs a list of values: state IN ('active', 'new')")
        return self._compares(node, [node.this, *node.expressions])

    def _is(self, node: Any) -> Kind:
        from sqlglot import expressions as sql

        if isinstance(node.expression, sql.Null):
            self.of(node.this)
        elif isinstance(node.expression, sql.Boolean):
            self.require(node.this, "flag")
        else:
            raise self._refused(node, "is not possible: IS takes NULL, TRUE or FALSE")
        return "flag"

    def _cast(self, node: Any) -> Kind:
        from sqlglot import expressions as sql

        if node.to.this != sql.DataType.Type.DATE or not isinstance(node.this, sql.Literal) or not node.this.is_string:
            raise self._refused(node, "is not possible: only a day is cast, DATE '2024-03-31'")
        self._day(node.this)
        return "date"

    def _column(self, node: sql.Column) -> Kind:
        from sqlglot import expressions as sql

        if node.table or not isinstance(node.this, sql.Identifier):
            raise self._refused(node, "names a table; a rule has the columns of one table only")
        if node.name not in self.columns:
            raise SettingsError(f"{self.where}: no column {node.name!r}. {_nearest(node.name, self.columns)}")
        node.set("this", sql.to_identifier(node.name, quoted=True))
        return KINDS[self.columns[node.name]]

    def _alike(self, node: Any, parts: list[Any]) -> Kind:
        """Return the one kind that parts have; a day may be written as a text like '2024-03-31'."""
        from sqlglot import expressions as sql

        kinds = [self.of(part) for part in parts]
        if "date" in kinds:
            for place, part in enumerate(parts):
                if isinstance(part, sql.Literal) and part.is_string:
                    self._day(part)
                    kinds[place] = "date"
        found = sorted(set(kinds) - {"nothing"})
        if len(found) > 1 or not found:
            raise self._refused(node, f"compares a {' with a '.join(found) or 'null'}")
        if "nothing" in kinds and not isinstance(node, sql.Coalesce):
            raise self._refused(node, "is never true of NULL; write IS NULL or IS NOT NULL")
        return found[0]

    def _day(self, node: Any) -> None:
        try:
            date.fromisoformat(node.name)
        except ValueError:
            raise self._refused(node, "is no day; write it as '2024-03-31'") from None

    def _refused(self, node: Any, why: str) -> SettingsError:
        return SettingsError(f"{self.where}: {node.sql(dialect='duckdb')[:80]} {why}.")


def _nearest(name: str, columns: Mapping[str, Type]) -> str:
    """Return the up to three nearest columns, or all of them."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(columns), n=3, cutoff=0.5)
    if not close:
        return nearest(name, columns)
    return f"Did you mean {' or '.join(map(repr, close))}?"
