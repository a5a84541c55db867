"""The prefix tree of all requests: each distinct token is computed once."""
