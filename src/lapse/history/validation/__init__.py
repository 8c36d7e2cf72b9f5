"""From delivered rows to typed rows or counted rejects."""
