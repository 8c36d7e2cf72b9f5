"""The page of marketing, `lapse serve`: lists, customers, how far to trust them. It reads what a run wrote."""
