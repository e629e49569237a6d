"""Files that nobody sees half written, and names that are still free."""

from __future__ import annotations

import difflib
import fcntl
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toyml.errors import UnwrittenError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what could not be written, and what to do.

    Raises:
        UnwrittenError: For any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise UnwrittenError(
            f"cannot write {path} ({error.strerror or error}); what was there before is kept: make "
            "room, or make the folder writable, and try again (a fit goes on with --ckpt_path last)"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be alone with a folder among those who ask for the same; wait for the others.

    The system gives the lock back however the process ends. File systems that know no locks give
    none.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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

    Raises:
        UnwrittenError: The disk is full, or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with writing(path), beside(path) as draft, draft.open("wb") as file:
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


def near_path(path: Path) -> str:
    """The path that is there and is most like one that is not; "" if none is like it.

    Where the folder holds none, a file of that name in ``configs`` is meant.
    """
    for start, parts in ((Path(path.anchor), path.parts), (Path("configs"), (path.name,))):
        place = start
        for part in parts:
            if (place / part).exists():
                place /= part
                continue
            try:
                names = [inside.name for inside in place.iterdir()]
            except OSError:
                names = []
            near = difflib.get_close_matches(part, names, n=1)
            if not near:
                break
            place /= near[0]
        else:
            here = Path.cwd()
            return str(place.relative_to(here) if place.is_relative_to(here) else place)
    return ""
