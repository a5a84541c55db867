"""Datasets: where their files are, whether they are complete, how to read their rows."""
