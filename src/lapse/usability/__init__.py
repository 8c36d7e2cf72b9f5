"""Whether a delivery can support a churn model, and how to set it up."""
