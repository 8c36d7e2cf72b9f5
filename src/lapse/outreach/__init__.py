"""What marketing does with it: lists and files."""
