"""The checks of ``gptalt-eval plugins check``."""
