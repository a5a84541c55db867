"""``python -m gptalt_eval`` is ``gptalt-eval``."""

from __future__ import annotations

import sys

from gptalt_eval.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
