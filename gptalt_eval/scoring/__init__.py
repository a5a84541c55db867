"""The default backend: each distinct token of a run's requests is computed once."""
