"""A params.yaml that cannot be followed: one message that names the key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.errors import SettingsError
from lapse.core.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
LAND = "  source: complete_journey\n"


def changed(old: str, new: str) -> str:
    assert old in PARAMS
    return PARAMS.replace(old, new, 1)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


def table(lines: str) -> str:
    return changed(LAND, LAND + "  tables:\n    sales:\n" + "".join(f"      {line}\n" for line in lines.split("; ")))


CASES = {
    "an unknown section": (PARAMS + "\nsourcs: 1\n", "unknown key 'sourcs'. Did you mean 'sources'?"),
    "an unknown key": (
        changed("    duplicates: drop\n", "    duplicate: drop\n"),
        "unknown key 'sources.transactions.duplicate'. Did you mean 'duplicates'?",
    ),
    "an unknown key of a join": (
        changed(
            "    path: transactions.parquet\n",
            "    path: transactions.parquet\n    joins: [{path: x.csv, on: [a], delimeter: x}]\n",
        ),
        "Did you mean 'delimiter'?",
    ),
    "an unknown key of land": (
        table("url: sqlite:///x.db; tabel: x"),
        "unknown key 'land.tables.sales.tabel'. Did you mean 'table'?",
    ),
    "a billion days": (
        changed("  horizon_days: 30", "  horizon_days: 1000000000"),
        "churn.horizon_days: Input should be less",
    ),
    "days beyond any machine": (changed("  lead_days: 0", f"  lead_days: {10**30}"), "churn.lead_days: "),
    "a billion cutoffs": (changed("  max_cutoffs: ", "  max_cutoffs: 100000000"), "snapshots.max_cutoffs: "),
    "a delivery for params": ("# x\n" * 300_000, "has 1,200,000 bytes, and settings have a few thousand"),
    "a missing key": (
        changed("  learning_rate: 0.03", "  # learning_rate: 0.03"),
        "the key 'train.learning_rate' is missing",
    ),
    "a bare date": (
        changed("  until: null", "  until: 2017-10-31"),
        'sources.until is a bare date. Put it in quotes: "2017-10-31".',
    ),
    "a bare date in a list": (changed("windows: auto", "windows: [2017-10-31]"), "features.windows.0 is a bare date"),
    "no day": (changed("  until: null", '  until: "2017-02-30"'), "sources.until"),
    "a key twice": (changed("  until: null", "  until: null\n  until: null"), 'found duplicate key "until"'),
    "tabs": (changed("  until: null", "\tuntil: null"), "is not valid YAML"),
    "a list": ("- a\n- b\n", "it must be a mapping of sections"),
    "nothing": ("", "it must be a mapping of sections"),
    "two documents": (PARAMS + "\n---\na: 1\n", "is not valid YAML"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
    "an alias bomb": (bomb(9), "nested too deeply or holds too many values. Write them out without & and *."),
    "an alias of itself": ("a: &a [*a]\n", "nested too deeply or holds too many values"),
    "brackets without end": ("a: " + "[" * 5000, "nested too deeply"),
    "an endless number": (changed("max_amount: 1000000 ", "max_amount: .inf "), "sources.transactions.max_amount"),
    "no number": (changed("max_amount: 1000000 ", "max_amount: .nan "), "sources.transactions.max_amount"),
    "no list": (
        changed("attributes: [age,", "attributes: age #"),
        "sources.customers.attributes: Input should be a valid list",
    ),
    "a number for a text": (
        changed("path: transactions.parquet", "path: 7"),
        "sources.transactions.path: Input should be a valid string",
    ),
    "no path": (changed("path: transactions.parquet", 'path: ""'), "sources.transactions.path"),
    "a long value": (
        changed("source: complete_journey", f"source: {'x' * 9000}"),
        "land.source: Input should be 'complete_journey'",
    ),
    "a time zone that leads outside": (changed("America/New_York", "../../etc/passwd"), "is not a time zone"),
    "a delimiter that divides nothing": (
        changed("    timezone: UTC\n", '    timezone: UTC\n    delimiter: "\\n"\n'),
        "sources.transactions: delimiter must not hold a quote, a line end or a NUL.",
    ),
    "a decimal sign": (changed("    timezone: UTC\n", "    timezone: UTC\n    decimal: ;\n"), "decimal"),
    "a column of ours that is none": (
        changed("      amount: sales_value", "      amont: sales_value"),
        "Did you mean 'amount'?",
    ),
    "a password": (
        table("url: postgresql://me:hunter22@host/db; table: x"),
        "land.tables.sales: the url holds a password. Put it into the environment and write ${NAME} in its place.",
    ),
    "a password in a broken line": (table("url: 'postgresql://me:hunter22@host/db; table: x"), "is not valid YAML"),
    "a password in a wrong place": (changed(LAND, LAND + "  tables: postgresql://me:hunter22@host/db\n"), "land.tables: "),
    "a password in a section of its own": (PARAMS + "\n'postgresql://me:hunter22@host/db': 1\n", "unknown key"),
    "a password where a number belongs": (
        changed("  learning_rate: 0.03", "  learning_rate: postgresql://me:hunter22@host/db "),
        "train.learning_rate",
    ),
    "a table and a query": (table("url: sqlite:///x.db; table: x; query: SELECT 1"), "exactly one of table and query"),
    "a query of an object": (table("url: s3://bucket/x.csv; query: SELECT 1"), "leave out table, query"),
    "no URL": (table("url: x.csv; table: x"), "url must be scheme://"),
    "a table name that leads outside": (changed(LAND, LAND + "  tables: {../x: {url: s3://a/b.csv}}\n"), "land.tables"),
}


@pytest.mark.parametrize("name", CASES)
def test_params_that_cannot_be_followed(name: str, tmp_path: Path) -> None:
    text, message = CASES[name]
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "params.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "hunter22" not in str(caught.value)


def test_params_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings(tmp_path / "params.yaml")
    with pytest.raises(SettingsError, match="is not a file"):
        load_settings(tmp_path)


def test_the_keys_of_before_go_on_working(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("\ufeff" + PARAMS, encoding="utf-8")
    settings = load_settings(tmp_path / "params.yaml")
    assert settings.sources.transactions.duplicates == "drop"
    assert (settings.sources.transactions.joins, settings.land.tables) == ([], {})
