"""Making and renewing a workspace."""
