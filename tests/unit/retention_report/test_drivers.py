"""What the model's reasons speak of, counted by segment."""

from __future__ import annotations

import pandas as pd

from lapse.retention_report.drivers import driver_sentences, model_drivers


def test_causes_are_counted_once_per_customer_and_by_segment() -> None:
    names = [f"c{number:03d}" for number in range(100)]
    scores = pd.DataFrame({
        "customer_id": names,
        "reason_1_code": ["trouble"] * 30 + ["silence"] * 60 + [None] * 10,
        "reason_2_code": ["silence"] * 30 + ["contacted"] * 60 + [None] * 10,
        "reason_3_code": [None] * 100,
    })  # fmt: skip
    segments = pd.DataFrame({"region": ["north"] * 40 + ["south"] * 55 + [None] * 5}, index=names)
    found = model_drivers(scores, segments).set_index(["segmented_by", "segment", "cause"])
    assert set(found.index) == {("all", "all", "silence"), ("all", "all", "trouble"), ("region", "north", "silence"),
                                ("region", "north", "trouble"), ("region", "south", "silence")}  # fmt: skip
    assert tuple(found.loc[("all", "all", "silence")]) == (90, 90, 60, 100.0)
    assert tuple(found.loc[("region", "north", "trouble")]) == (40, 30, 30, 75.0)
    assert found.loc[("region", "south", "silence"), "customers"] == 50, "who has no reason is not counted"
    first, *others = driver_sentences(found.reset_index())
    assert first.startswith("Of 90 customers with a reason, most often: no order for longer than usual")
    assert others == ["north (region): complaints, open tickets, failed payments is a reason for 75% of 40, against 33% of "
                      "everybody."]  # fmt: skip
    assert len(driver_sentences(model_drivers(scores, segments.head(0)))) == 1, "without segments"
    assert len(driver_sentences(model_drivers(scores, segments.replace("north", "unknown")))) == 1, "says nothing of whom"
    assert driver_sentences(model_drivers(scores.iloc[90:], segments)) == []
