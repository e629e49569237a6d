"""``python -m toyml``."""

import os
import sys

if __name__ == "__main__":
    # Python puts the working folder first. Behind all that is installed, a torch.py in a folder
    # from someone else is not taken for torch.
    if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - as Python wrote it there
        sys.path.append(sys.path.pop(0))

    from toyml.cli import console

    raise SystemExit(console())
