"""What every table holds: its grain, its key, its columns, their types, units and checks."""
