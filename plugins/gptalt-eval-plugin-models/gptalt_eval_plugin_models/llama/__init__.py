"""LLaMA and its descendants of 2023: Vicuna, Alpaca, Koala, Baize and others."""
