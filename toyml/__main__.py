"""``python -m toyml``."""

from toyml.cli import console

if __name__ == "__main__":
    raise SystemExit(console())
