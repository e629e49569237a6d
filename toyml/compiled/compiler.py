"""From C text to a loaded library: the system's compiler and a cache of what it made.

A library is kept in ``$XDG_CACHE_HOME/toyml/kernels``, by default ``~/.cache/toyml/kernels``, under
a name that hashes everything it depends on (text, compiler and its version, flags, processor), so
that it is compiled once per machine. Code from there is run: where any folder on the way can be
written to by another user, nothing is taken from it and nothing kept.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toyml.files import cache_home, only_ours, open_private, private_scratch
from toyml.terminal import plain

# No -ffast-math and nothing of it that is unsafe: NaN and infinity must be seen, and libraries
# linked with it switch denormals off in the whole process (GCC before 13, crtfastmath.o).
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-fPIC", "-shared")

TIMEOUT = 300.0
"""Seconds after which a compilation is given up."""

LARGEST, DIGEST = 64_000_000, hashlib.sha256().digest_size
"""Most bytes of a library, and those behind it that say whether it is whole."""


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
    try:
        kept = cache_home() / "toyml" / "kernels"
        folder = open_private(kept)
    except OSError as error:
        say_uncached(f"{error.filename}: {error.strerror}")
        return _made(source, command, natives, None, name)
    try:
        found = read_library(folder, f"{name}.so")
    finally:
        os.close(folder)
    within = kept if os.access(kept, os.W_OK) else None
    if found is not None:
        with suppress(OSError):  # of another C library: made anew
            return Library(_opened(found, within), 0.0, True)
    return _made(source, command, natives, within, name)


@functools.cache
def say_uncached(why: str) -> None:
    """Say once that kernels are not kept."""
    print(
        f"toyml: compiled kernels are not kept, since others could put theirs in their place "
        f"({plain(why)}); set XDG_CACHE_HOME to a folder that only you can write to",
        file=sys.stderr,
    )


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


def read_library(folder: int, name: str) -> bytes | None:
    """A library from the cache; ``None`` where there is none, or it is not whole and ours.

    What is checked is what is read, and what is read is what is loaded: a file's name may stand
    for another one a moment later.

    Args:
        folder: The cache, open.
        name: The file there: a library, and behind it its digest.
    """
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not only_ours(file) or status.st_size > LARGEST:
            return None
        content = opened.read(LARGEST)
    library, digest = content[:-DIGEST], content[-DIGEST:]
    return library if hashlib.sha256(library).digest() == digest else None


def _opened(library: bytes, within: Path | None) -> ctypes.CDLL:
    """Load exactly these bytes."""
    with private_scratch(within) as scratch:
        path = scratch / "kernel.so"
        path.write_bytes(library)
        return ctypes.CDLL(str(path))  # mapped, it outlives its file


def _made(
    source: str,
    command: tuple[str, ...],
    natives: tuple[tuple[str, ...], ...],
    kept: Path | None,
    name: str,
) -> Library:
    """Compile and load, and keep it where there is a private place."""
    start = time.perf_counter()
    try:
        with private_scratch(kept) as scratch:
            library = _compile(source, command, natives, scratch)
            seconds = time.perf_counter() - start
            if kept is not None:
                # To read beside it. Made beside and renamed: whoever looks sees all or nothing.
                (scratch / "kernel.c").replace(kept / f"{name}.c")
                (scratch / "kernel.so").write_bytes(library + hashlib.sha256(library).digest())
                (scratch / "kernel.so").chmod(0o600)
                (scratch / "kernel.so").replace(kept / f"{name}.so")
        return Library(_opened(library, kept), seconds, False)
    except OSError as error:
        raise NotCompilable(f"no kernel can be made: {plain(str(error))}") from error


def _compile(
    source: str, command: tuple[str, ...], natives: tuple[tuple[str, ...], ...], scratch: Path
) -> bytes:
    """What the compiler makes of ``scratch/kernel.c``."""
    text, made = scratch / "kernel.c", scratch / "kernel.so"
    text.write_text(source)
    said = ""
    for native in natives:
        try:
            done = subprocess.run(
                [*command, *FLAGS, *native, str(text), "-o", str(made), "-lm"],
                env={**os.environ, "TMPDIR": str(scratch)},  # what is between text and library
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotCompilable(f"{command[0]} failed: {error}") from error
        if done.returncode == 0 and made.exists():
            return made.read_bytes()
        said = said or next((s for s in done.stderr.splitlines() if "error" in s), "no output")
    raise NotCompilable(f"{command[0]} failed: {said.strip()[:200]}")
