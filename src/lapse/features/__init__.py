"""How customers behave: families of small functions, and what builds the table from them."""
