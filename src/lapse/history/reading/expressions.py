"""SQL expressions from params, checked before they run: arithmetic over the source's own columns and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import sqlglot
from sqlglot import expressions as sql

from lapse.core.errors import SettingsError
from lapse.core.tables.contract import nearest

# What a derivation may consist of. Everything that is not named here is refused: sub-queries, tables, settings,
# files, lambdas, and every function that we have not looked at.
ALLOWED: frozenset[type[sql.Expression]] = frozenset({
    sql.Column, sql.Identifier, sql.Literal, sql.Null, sql.Boolean, sql.Paren, sql.Neg, sql.Not, sql.And, sql.Or,
    sql.Add, sql.Sub, sql.Mul, sql.Div, sql.IntDiv, sql.Mod, sql.EQ, sql.NEQ, sql.GT, sql.GTE, sql.LT, sql.LTE,
    sql.Is, sql.In, sql.Between, sql.Like, sql.ILike, sql.Case, sql.If, sql.Cast, sql.TryCast, sql.DataType,
    sql.DataTypeParam, sql.Coalesce, sql.Nullif, sql.Lower, sql.Upper, sql.Trim, sql.Substring, sql.Left, sql.Right,
    sql.Length, sql.Concat, sql.DPipe, sql.Replace, sql.Abs, sql.Round, sql.Floor, sql.Ceil, sql.Greatest, sql.Least,
    sql.SplitPart, sql.StrToTime, sql.TimestampTrunc, sql.DateTrunc, sql.UnixToTime, sql.RegexpLike, sql.StartsWith,
    sql.EndsWith, sql.Contains, sql.Var, sql.DateFromParts,
})  # fmt: skip
ALLOWED_BY_NAME = frozenset({"TRY_STRPTIME", "STRPTIME", "MAKE_DATE", "MAKE_TIMESTAMP", "EPOCH_MS", "TO_TIMESTAMP"})
# What CAST may aim at. Arrays, structs and the like could ask for any amount of memory, and no column of ours is one.
ALLOWED_TYPES = frozenset(
    getattr(sql.DataType.Type, name)
    for name in ("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "INT128", "UTINYINT", "USMALLINT", "UINT", "UBIGINT",
                 "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "TEXT", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ",
                 "TIMESTAMPNTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
)  # fmt: skip
LONGEST = 1_000
MOST_SHOWN = 30
MOST_REPLACED = 6
LONGEST_REPLACEMENT = 8
MOST_GROWTH = 64
"""REPLACE can make a text longer, one inside another many times so: up to this cannot fill the memory."""
HELP = "Use columns, arithmetic, comparisons, CASE, CAST and simple text, number and date functions."


def checked_expression(text: str, columns: Mapping[str, str], where: str) -> str:
    """Return an expression from params as safe DuckDB SQL over the source's columns.

    Column names are matched exactly first, then without regard to case. SettingsError names the setting when the text
    does not parse, uses anything but the allowed operations, or names a column that the source does not have.
    """
    if len(text) > LONGEST or "\0" in text:
        raise SettingsError(f"{where}: the expression is longer than {LONGEST:,} characters or holds a NUL. {HELP}")
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
        if len(trees) != 1 or ";" in _without_quotes(text):
            raise SettingsError(f"{where}: {text!r} must be one SQL expression.")
        nodes = list(trees[0].walk())
    except sqlglot.errors.SqlglotError as error:
        raise SettingsError(f"{where}: {text!r} is no SQL expression ({_plain(str(error).splitlines()[0])}).") from None
    except RecursionError:
        raise SettingsError(f"{where}: the expression is nested too deeply. {HELP}") from None
    _refuse_growth(nodes, where, text)
    for node in nodes:
        if not _is_allowed(node):
            what = node.name if isinstance(node, sql.Anonymous) else node.key
            what = f"the type {node.sql(dialect='duckdb')}" if isinstance(node, sql.DataType) else what
            raise SettingsError(f"{where}: {what!r} is not allowed in {text!r}. {HELP}")
        if isinstance(node, sql.Column):
            if set(node.args) - {"this"} and any(value for key, value in node.args.items() if key != "this"):
                raise SettingsError(f"{where}: write {node.name!r} without a table name in {text!r}.")
            node.set("this", sql.to_identifier(columns[matching_column(node.name, list(columns), where)], quoted=True))
    return trees[0].sql(dialect="duckdb", comments=False)


def columns_in(text: str, names: Sequence[str]) -> list[str]:
    """Return the source's columns that a checked expression of params reads, in their order in the source."""
    tree = sqlglot.parse_one(text, dialect="duckdb")
    read = {matching_column(node.name, names, "") for node in tree.find_all(sql.Column)}
    return [name for name in names if name in read]


def _is_allowed(node: sql.Expression) -> bool:
    if isinstance(node, sql.Anonymous):
        return node.name.upper() in ALLOWED_BY_NAME
    if isinstance(node, sql.DataType):
        return node.this in ALLOWED_TYPES and not node.args.get("nested")
    if isinstance(node, sql.Var):
        return isinstance(node.parent, sql.TimestampTrunc | sql.DateTrunc) and node.name.isalpha()
    return type(node) in ALLOWED


def _refuse_growth(nodes: list[sql.Expression], where: str, text: str) -> None:
    replaced = [node for node in nodes if isinstance(node, sql.Replace)]
    short = all(
        isinstance(new := node.args.get("replacement"), sql.Literal) and len(new.name) <= LONGEST_REPLACEMENT
        for node in replaced
    )
    if len(replaced) > MOST_REPLACED or not short or max(map(_growth, replaced), default=1) > MOST_GROWTH:
        raise SettingsError(f"{where}: {text!r} may hold {MOST_REPLACED} REPLACE at most, each with a replacement of at "
                            f"most {LONGEST_REPLACEMENT} characters in quotes, which one inside another make a text up to "
                            f"{MOST_GROWTH} times as long.")  # fmt: skip


def _growth(node: sql.Expression | None) -> float:
    """Return how many times as long a REPLACE and those around it make a text at most."""
    grown = 1.0
    while node is not None:
        if isinstance(node, sql.Replace):
            old, new = node.expression, node.args["replacement"]
            grown *= max(1.0, len(new.name) / (len(old.name) or 1 if isinstance(old, sql.Literal) else 1))
        node = node.parent
    return grown


def _without_quotes(text: str) -> str:
    """Return SQL without what stands in quotes and comments."""
    return re.sub(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""", "", text)


def _plain(text: str) -> str:
    """Return a message of the parser without its terminal colours."""
    return re.sub(r"\x1b\[\d*m", "", text)


def matching_column(name: str, columns: Sequence[str], where: str) -> str:
    """Return the source's spelling of a column that params name, else raise SettingsError."""
    if name in columns:
        return name
    folded = [column for column in columns if column.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    if len(folded) > 1:
        raise SettingsError(f"{where}: the source has several columns {name!r}: {', '.join(folded[:5])}. Write one of them.")
    few = [column[:60] for column in columns][:MOST_SHOWN]
    advice = nearest(name, [column for column in columns if len(column) <= 60] or few)
    if advice.startswith("Valid are") and len(columns) > MOST_SHOWN:
        advice = f"It has {len(columns):,}: {', '.join(few[:10])}, …"
    raise SettingsError(f"{where}: the source has no column {name!r}. {advice}")


def quoted(name: str) -> str:
    """Return a column name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string literal."""
    escaped = text.replace("'", "''")
    # The engine's parser ends its text at a NUL.
    return "('" + escaped.replace("\0", "' || chr(0) || '") + "')" if "\0" in text else f"'{escaped}'"
