"""Files that nobody sees half written, folders that nobody else writes to, and bounded reading."""

from __future__ import annotations

import difflib
import errno
import fcntl
import itertools
import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from toyml.errors import UnwrittenError, UserError

MOST_BYTES = 16_000_000
"""Bytes of a JSON file that is read; the largest of ours have some ten thousand."""
DEEPEST = 50
"""Lists within lists that are read; ours hold four."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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


# -- reading what anybody may have written ---------------------------------------------------------


def read_bytes(path: Path, most: int) -> bytes:
    """A whole file of at most so many bytes.

    Raises:
        UserError: It is larger; nothing is read of it.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(
                f"{path} is damaged: it has {size:,} bytes, and at most {most:,} are read; move it "
                "away"
            )
        return file.read(most)


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """What a JSON file holds: no number that a float cannot hold, and not nested without end.

    Raises:
        UserError: It holds something else, or is too large.
        OSError: It cannot be read.
    """
    try:
        value = json.loads(
            read_bytes(path, most).decode(), parse_constant=number, parse_float=number
        )
        if depth(value) > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} times")
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path} is not readable as JSON: {words}") from error
    return value


def number(word: str) -> float:
    """A finite number.

    Raises:
        ValueError: It is none.
    """
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word[:40]} is no number of JSON")
    return value


def depth(value: Any) -> int:
    """How many lists and dicts a value stands in at most.

    Example:
        >>> depth(1), depth([]), depth({"a": [1]})
        (0, 1, 2)
    """
    level, found = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        found += 1
        level = [i for v in level for i in (v.values() if isinstance(v, dict) else v)]
    return found


# -- folders that nobody else writes to ------------------------------------------------------------


def only_ours(descriptor: int, sticky: bool = False) -> bool:
    """Whether what is open belongs to this user or to root, and no other may write to it.

    Args:
        descriptor: An open file or folder.
        sticky: Let others write where they can neither remove nor rename what is not theirs.
    """
    status = os.fstat(descriptor)
    written = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    spared = sticky and status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, os.geteuid()) and (not written or bool(spared))


def open_private(folder: Path, sticky: bool = False) -> int:
    """A descriptor of a folder in whose place no other user can put another.

    The way there is walked from the root, by descriptors and without following a link; what is
    missing is made, for its owner alone. A sticky folder is refused like any that others may write
    to: they could have been there first.

    Args:
        folder: An absolute path.
        sticky: Let the way lead through sticky folders, for what is made anew below them.

    Raises:
        OSError: A folder on the way is a link, another user's or can be written to by others, or
            the last one cannot be made.

    Example:
        >>> os.close(open_private(Path("/")))
    """
    here = os.open("/", FOLDER)
    place = Path("/")
    try:
        for name in (None, *folder.parts[1:]):
            if name is not None:
                place /= name
                try:
                    below = os.open(name, FOLDER, dir_fd=here)
                except FileNotFoundError:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=here)
                    below = os.open(name, FOLDER, dir_fd=here)
                os.close(here)
                here = below
            if not only_ours(here, sticky):
                raise PermissionError(errno.EPERM, "other users may write to it", str(place))
    except OSError as error:
        os.close(here)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            error = NotADirectoryError(error.errno, "it is a link or no folder", str(place))
        raise type(error)(error.errno, error.strerror, str(place)) from None
    return here


@contextmanager
def private_scratch(within: Path | None = None) -> Iterator[Path]:
    """An empty folder for this user alone, removed at the end of the block.

    Args:
        within: Where, if :func:`open_private` found it private; else where temporary files go.

    Raises:
        OSError: There is no such place.
    """
    if within is None:
        within = Path(tempfile.gettempdir()).resolve()
        os.close(open_private(within, sticky=True))
    with tempfile.TemporaryDirectory(dir=within) as folder:
        yield Path(folder)


def cache_home() -> Path:
    """``$XDG_CACHE_HOME``, by default ``~/.cache``; a relative path is ignored, as is specified.

    Raises:
        OSError: There is neither of the two.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return home if home.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no home", "~") from error


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
