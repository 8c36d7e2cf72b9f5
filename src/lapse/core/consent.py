"""What can be known of a customer's consent to be contacted, and how it is said."""

from __future__ import annotations

GIVEN, REFUSED, WITHDRAWN, UNKNOWN = "given", "refused", "withdrawn", "unknown"
STATES = {
    GIVEN: "agreed to be contacted",
    REFUSED: "said no (customers.consent)",
    WITHDRAWN: "withdrew (an event of consent.withdrawn_by)",
    UNKNOWN: "no clear yes is known",
}
