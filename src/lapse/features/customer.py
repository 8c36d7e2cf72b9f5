"""Customer: what the customers table says about them, as far as it was known at the cutoff.

`known` is tables.ATTRIBUTES up to the cutoff: the row that became valid last is the one that counts.
"""

from __future__ import annotations

from typing import Any

from lapse.core.tables.activity import ATTRIBUTE
from lapse.features.family import Entry, Family

customer = Family("customer", "attributes", "who they are", needs=("customers",))
NOT_KNOWN = "null where nothing is known of the customer at the cutoff"


@customer.aggregate(
    Entry("Attribute {column} of the customer.", "as delivered", NOT_KNOWN, "either", "attribute"), over=["attribute"]
)
def attribute(known: Any, column: str) -> Any:
    number = known[ATTRIBUTE + column].try_cast("float64")
    return number.argmax(known.activity_date, where=number.notnull())


@customer.aggregate(
    Entry("1 where attribute {column} is {level}, 0 where it is anything else.", "0 or 1", NOT_KNOWN, "either", "attribute"),
    over=["level"],
)
def attribute_(known: Any, column: str, level: str) -> Any:
    is_level = (known[ATTRIBUTE + column] == level).fill_null(False).cast("int64")  # noqa: FBT003
    return is_level.argmax(known.activity_date)
