"""The logs rolled up to one row per customer and day."""
