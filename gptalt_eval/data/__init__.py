"""Rows: where they are, whether they are complete, how to read them."""
