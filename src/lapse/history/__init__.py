"""What happened: sources, validation, the roll-up to days."""
