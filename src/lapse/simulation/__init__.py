"""A shop of any size whose truth is known."""
