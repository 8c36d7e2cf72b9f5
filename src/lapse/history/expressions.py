"""SQL expressions from params, checked before they run: arithmetic over the source's own columns and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import sqlglot
from sqlglot import expressions as sql

from lapse.errors import SettingsError
from lapse.tables import nearest

# What a derivation may consist of. Everything that is not named here is refused: sub-queries, tables, settings,
# files, lambdas, and every function that we have not looked at.
ALLOWED: tuple[type[sql.Expression], ...] = (
    sql.Column, sql.Identifier, sql.Literal, sql.Null, sql.Boolean, sql.Paren, sql.Neg, sql.Not, sql.And, sql.Or,
    sql.Add, sql.Sub, sql.Mul, sql.Div, sql.IntDiv, sql.Mod, sql.EQ, sql.NEQ, sql.GT, sql.GTE, sql.LT, sql.LTE,
    sql.Is, sql.In, sql.Between, sql.Like, sql.ILike, sql.Case, sql.If, sql.Cast, sql.TryCast, sql.DataType,
    sql.DataTypeParam, sql.Coalesce, sql.Nullif, sql.Lower, sql.Upper, sql.Trim, sql.Substring, sql.Left, sql.Right,
    sql.Length, sql.Concat, sql.DPipe, sql.Replace, sql.Abs, sql.Round, sql.Floor, sql.Ceil, sql.Greatest, sql.Least,
    sql.SplitPart, sql.StrToTime, sql.TimestampTrunc, sql.DateTrunc, sql.UnixToTime, sql.RegexpLike, sql.StartsWith,
    sql.EndsWith, sql.Contains, sql.Var,
)  # fmt: skip
ALLOWED_BY_NAME = frozenset({"TRY_STRPTIME", "STRPTIME", "MAKE_DATE", "MAKE_TIMESTAMP", "EPOCH_MS", "TO_TIMESTAMP"})


def checked_expression(text: str, columns: Sequence[str], where: str) -> str:
    """An expression from params and the source's column names in, the same expression as safe DuckDB SQL out.

    Column names are matched exactly first, then without regard to case. SettingsError names the setting when the
    text does not parse, uses anything but the allowed operations, or names a column that the source has not.
    """
    try:
        trees = sqlglot.parse(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise SettingsError(f"{where}: {text!r} is no SQL expression ({str(error).splitlines()[0]}).") from None
    if len(trees) != 1 or trees[0] is None:
        raise SettingsError(f"{where}: {text!r} must be one SQL expression.")
    for node in trees[0].walk():
        named = isinstance(node, sql.Anonymous) and node.name.upper() in ALLOWED_BY_NAME
        if not named and type(node) not in ALLOWED:
            what = node.name if isinstance(node, sql.Anonymous) else node.key
            raise SettingsError(f"{where}: {what!r} is not allowed in {text!r}. Use columns, arithmetic, comparisons, CASE, "
                                "CAST and simple text, number and date functions.")  # fmt: skip
        if isinstance(node, sql.Column):
            if node.args.get("table"):
                raise SettingsError(f"{where}: write {node.name!r} without a table name in {text!r}.")
            node.set("this", sql.to_identifier(matching_column(node.name, columns, where), quoted=True))
    return trees[0].sql(dialect="duckdb")


def matching_column(name: str, columns: Sequence[str], where: str) -> str:
    """A column's name as params have it and the source's names in, the source's spelling out, else SettingsError."""
    if name in columns:
        return name
    folded = [column for column in columns if column.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    raise SettingsError(f"{where}: the source has no column {name!r}. {nearest(name, columns)}")


def quoted(name: str) -> str:
    """A column name in, the same as a quoted SQL identifier out."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in, the same as a SQL string literal out."""
    return "'" + text.replace("'", "''") + "'"
