"""Reading a delivery as it is: files of every kind, joins, and the mapping expressions."""
