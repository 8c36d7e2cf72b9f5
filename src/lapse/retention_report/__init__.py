"""What needs risk and value: segments, worth and cost, why customers leave, and what a point of retention is worth."""
