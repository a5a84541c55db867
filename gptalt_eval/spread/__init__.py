"""Hands units of requests to many workers and takes each answer once; knows nothing of models."""
