"""From C text to a loaded library: the system's compiler and a cache of what it made.

A library is kept in the user's cache folder under a name that hashes everything it depends on
(text, compiler and its version, flags, processor), so that it is compiled once per machine. The
folder is private: code from it is run.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# No -ffast-math and nothing of it that is unsafe: NaN and infinity must be seen, and libraries
# linked with it switch denormals off in the whole process (GCC before 13, crtfastmath.o).
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-fPIC", "-shared")

TIMEOUT = 300.0
"""Seconds after which a compilation is given up."""


class NotCompilable(Exception):  # noqa: N818 - an answer, not an error: the eager route runs
    """This training problem has no compiled form here; the message says why in one line."""


@dataclass(frozen=True)
class Library:
    """A loaded library.

    Attributes:
        handle: Its functions.
        seconds: Time the compilation took; 0 when it was found in the cache.
        cached: Whether it was found in the cache.
    """

    handle: ctypes.CDLL
    seconds: float
    cached: bool


def load(source: str, vector_bits: int) -> Library:
    """Compile C text, or find it compiled, and load it.

    Args:
        source: The text of one translation unit.
        vector_bits: Width of vectors to prefer where the compiler takes such advice.

    Raises:
        NotCompilable: There is no C compiler, or it fails on the text.
    """
    command, version = find_compiler()
    # Tried in turn: compilers differ in how they are told to use all of this processor.
    natives = (
        ("-march=native", f"-mprefer-vector-width={vector_bits}"),
        ("-march=native",),
        ("-mcpu=native",),
        (),
    )
    text = "\0".join([source, *command, version, *FLAGS, *map(str, natives), processor()])
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    folder = cache_folder()
    if folder is None:
        # Nowhere to keep it: the mapped library outlives its file.
        with tempfile.TemporaryDirectory() as scratch:
            seconds = _compile(source, command, natives, Path(scratch) / name)
            return Library(ctypes.CDLL(f"{scratch}/{name}.so"), seconds, False)
    path = folder / f"{name}.so"
    if path.exists():
        try:
            return Library(ctypes.CDLL(str(path)), 0.0, True)
        except OSError:
            path.unlink(missing_ok=True)  # damaged, say by a full disk: made anew
    seconds = _compile(source, command, natives, folder / name)
    return Library(ctypes.CDLL(str(path)), seconds, False)


def find_compiler() -> tuple[tuple[str, ...], str]:
    """The compiler's command and what it says about its version.

    The environment variable CC decides where it is set (it may carry arguments), else the first
    of cc, gcc and clang on the PATH.

    Raises:
        NotCompilable: None of them can be run.
    """
    chosen = os.environ.get("CC", "").strip()
    candidates = [tuple(shlex.split(chosen))] if chosen else [("cc",), ("gcc",), ("clang",)]
    for command in candidates:
        path = shutil.which(command[0])
        version = _version((path, *command[1:])) if path else None
        if path and version:
            return (path, *command[1:]), version
    if chosen:
        raise NotCompilable(f"the C compiler CC={chosen} cannot be run")
    raise NotCompilable("no C compiler (cc, gcc, clang) found")


@functools.cache
def _version(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout or done.stderr or None


@functools.cache
def processor() -> str:
    """What tells processors apart whose native code may differ.

    The model and its instruction sets where Linux lists them, else the machine's name.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return " ".join(platform.uname())
    telling = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    return platform.machine() + "".join(line for line in lines if line.startswith(telling))


def cache_folder() -> Path | None:
    """The private folder of compiled libraries; ``None`` where there cannot be one.

    ``$XDG_CACHE_HOME/toyml/kernels``, by default ``~/.cache/toyml/kernels``, readable by its
    owner alone. A folder that others own or may write to is not used.
    """
    try:
        # The specification has relative paths ignored.
        root = Path(os.environ.get("XDG_CACHE_HOME", ""))
        root = root if root.is_absolute() else Path.home() / ".cache"
        folder = root / "toyml" / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):
        return None
    private = not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & 0o022
    )
    return folder if private and os.access(folder, os.W_OK) else None


def _compile(
    source: str, command: tuple[str, ...], natives: tuple[tuple[str, ...], ...], target: Path
) -> float:
    """Write ``target.so``, and ``target.c`` to read beside it; return the seconds it took."""
    start = time.perf_counter()
    # Made beside and renamed: whoever looks meanwhile sees all of the library or none.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        text, made = Path(scratch) / "kernel.c", Path(scratch) / "kernel.so"
        text.write_text(source)
        said = ""
        for native in natives:
            try:
                done = subprocess.run(
                    [*command, *FLAGS, *native, str(text), "-o", str(made), "-lm"],
                    capture_output=True,
                    text=True,
                    timeout=TIMEOUT,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise NotCompilable(f"{command[0]} failed: {error}") from error
            if done.returncode == 0 and made.exists():
                text.replace(target.with_suffix(".c"))
                made.replace(target.with_suffix(".so"))
                return time.perf_counter() - start
            said = said or next((s for s in done.stderr.splitlines() if "error" in s), "no output")
    raise NotCompilable(f"{command[0]} failed: {said.strip()[:200]}")
