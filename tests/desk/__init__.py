"""A small Django app for the tests: a help desk that opens, answers and closes tickets."""
