"""Files that nobody sees half written, and names that are still free."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A draft in the folder of ``path`` that takes its name when the block ends well.

    No reader sees half of it, whoever writes to the same place meanwhile has a draft of its own,
    and an error in the block leaves the old file as it was and no draft.

    Args:
        path: The file to make or to replace; its folder has to exist.

    Raises:
        OSError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with beside(target) as draft:
        ...     _ = draft.write_text("whole")
        ...     target.exists()
        False
        >>> target.read_text()
        'whole'
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    draft.touch(exist_ok=False)  # made, never followed: what lies there is not ours
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def replace(path: Path, content: str | bytes) -> None:
    """Write a whole file ``beside`` its place, hand it to the disk, and rename it.

    Args:
        path: The file; its folder has to exist.
        content: Text, written as UTF-8 with its line ends as they are, or bytes.
    """
    data = content.encode() if isinstance(content, str) else content
    with beside(path) as draft, draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def first_free(path: Path) -> Path:
    """The first of ``stem.0.suffix``, ``stem.1.suffix``, ... that does not exist.

    Example:
        >>> first_free(Path("metrics.after_500.csv"))
        PosixPath('metrics.after_500.0.csv')
    """
    numbered = (path.with_name(f"{path.stem}.{i}{path.suffix}") for i in itertools.count())
    return next(candidate for candidate in numbered if not os.path.lexists(candidate))
