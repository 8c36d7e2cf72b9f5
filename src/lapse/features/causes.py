"""The causes: the closed list of what lapse's own features can say about a customer, each with one meaning.

A cause is also the machine-readable code of a reason (`reason_1_code`): a code never changes its meaning.
"""

from __future__ import annotations

CAUSES = {
    "silence": "No order for longer than usual for this customer, or than is usual for others.",
    "ordering_less": "Orders less often than the same customer used to.",
    "seldom": "Orders seldom beside others, lately and in the long run.",
    "new_customer": "Came only lately.",
    "out_of_season": "Did not order in the same weeks a year ago.",
    "spending_less": "Spends less than the same customer used to.",
    "low_spend": "Spends little beside others.",
    "small_orders": "Buys little at a time.",
    "narrowing": "Drops kinds of product, or buys few kinds and tries little new.",
    "habits": "Buys on other days, at other hours or places than usual, or buys nothing again.",
    "discounts": "Buys at a discount, or at other prices than others.",
    "returns": "Returns what was bought.",
    "trouble": "Complaints, open tickets, failed payments.",
    "less_active": "Does less besides buying.",
    "responds_less": "Answers less of what the business sends.",
    "contacted": "How much the business sends to them.",
    "lukewarm_feedback": "Rates lower, or more lukewarmly, than before or than others.",
    "silent_about_us": "Gives fewer ratings and comments.",
    "contract": "What the subscription itself says: notice, earlier ends, a trial.",
    "attribute": "Who they are, by the customers table.",
}
NOTHING_UNUSUAL = "nothing_unusual"
"""The code of what is said of a listed customer about whom nothing else can truly be said."""
WITHOUT_WORDS = ("contacted", "attribute")
"""Causes that are never said as a reason: they are the business's own doing, or nothing that a contact could change."""
