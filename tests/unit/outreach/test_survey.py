"""Those who left are asked, with consent alone, and their answers come back as feedback."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ruamel.yaml import YAML

from lapse.core.list_settings import ContactColumns
from lapse.outreach.layouts import in_layout
from lapse.outreach.survey import MAPPING
from tests.unit.history.history_cases import Validate, folder, run_validate
from tests.unit.outreach.test_layouts import CONTACT, listed

__all__ = ["folder", "run_validate"]


def test_answers_come_back_as_feedback(run_validate: Validate, folder: Path) -> None:
    found = in_layout(listed(), ContactColumns(), "survey", "recent_leavers")
    rows = list(csv.DictReader(io.StringIO(found.text)))
    assert [row["customer_id"] for row in rows] == ["k0", "k1", "k2", "k3", "k4"] and found.left_out["without consent"] == 1
    assert list(rows[0]) == ["customer_id", "answered_on", "rating", "reason", "comment"], (
        "nothing that lapse thinks of them"
    )
    assert "email" in in_layout(listed(), CONTACT, "survey", "recent_leavers").text.splitlines()[0]
    rows[0] |= {"answered_on": "2020-02-01", "rating": "2", "reason": "price", "comment": "too dear, sorry"}
    rows[1] |= {"answered_on": "2020-02-02", "comment": "moved away"}
    rows[2] |= {"answered_on": "2020-02-03", "rating": "5", "reason": "no longer needed"}
    with (folder / "answers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "t.csv").write_text("who,at,paid\nk0,2020-01-05,10\n")
    lines = MAPPING.format(file="answers.csv").split("\n\n", 1)[1]
    done = run_validate(transactions={"path": "t.csv"}, **YAML(typ="safe").load(lines))
    assert done.rows("feedback", "customer_id, CAST(feedback_date AS VARCHAR), CAST(rating AS INT), comment") == [
        ("k0", "2020-02-01", 2, "price too dear, sorry"), ("k1", "2020-02-02", 3, "moved away"),
        ("k2", "2020-02-03", 5, "no longer needed"),
    ]  # fmt: skip
    assert (done.counts["feedback"].rows_left_out, done.counts["feedback"].rows_rejected) == (2, 0), (
        "who did not answer is no reject"
    )
