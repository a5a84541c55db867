"""What must happen before anything else is imported; so it imports only what Python itself has loaded.

``python -m`` puts the working folder first, whose ``yaml.py`` we would import. So the package takes it out,
unless the package itself is there.
"""

from __future__ import annotations

import os
import sys


def leave_out_working_folder(package: str) -> None:
    """Take the working folder out of where modules are found, if ``python -m`` put it there.

    Args:
        package: the folder of this package.
    """
    if sys.argv[:1] != ["-m"] or not sys.path:
        return
    own, first = os.path.dirname(os.path.realpath(package)), os.path.realpath(sys.path[0])  # noqa: PTH120
    if own != first and first == os.path.realpath("."):
        del sys.path[0]


leave_out_working_folder(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
