"""What marketing works with: lists, and the files that hold them."""
