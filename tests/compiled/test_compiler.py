"""The cache of compiled kernels: kept where nobody else can put anything, else not at all."""

import ctypes
import hashlib
import multiprocessing
import os
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.compiled.test_kernel import RULES, needs_compiler, problem
from toyml.compiled import Kernel, NotCompilable, compile_training
from toyml.compiled.compiler import find_compiler, say_uncached


def kernel_of(net: nn.Module) -> Kernel:
    return compile_training(net, nn.MSELoss(), RULES["sgd"](net), 4)


class TestCompiler:
    def test_a_compiler_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("CC", "/nonexistent/cc")
        with pytest.raises(NotCompilable, match="the C compiler CC=/nonexistent/cc cannot be run"):
            kernel_of(nn.Linear(2, 1))

    def test_no_compiler_on_the_path(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NotCompilable, match=r"no C compiler \(cc, gcc, clang\) found"):
            kernel_of(nn.Linear(2, 1))

    def test_a_compiler_that_fails(self, monkeypatch, tmp_path, kernels):
        fake = tmp_path / "cc"
        fake.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo 1 && exit\necho "x.c: error: no" >&2\nexit 1\n'
        )
        fake.chmod(0o755)
        monkeypatch.setenv("CC", str(fake))
        with pytest.raises(NotCompilable, match=r"cc failed: x\.c: error: no"):
            kernel_of(nn.Linear(2, 1))
        assert list((kernels / "toyml" / "kernels").iterdir()) == []

    @needs_compiler
    @pytest.mark.usefixtures("kernels")
    def test_hyper_parameters_share_a_kernel_and_sizes_do_not(self):
        first = kernel_of(nn.Linear(2, 1))
        assert not first.cached
        assert first.compile_seconds > 0
        net = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=7.0)
        second = compile_training(net, nn.MSELoss(), optimizer, 4)
        assert second.cached
        assert second.compile_seconds == 0
        assert not kernel_of(nn.Linear(3, 1)).cached

    @needs_compiler
    def test_the_cache_is_private_and_a_damaged_library_is_made_anew(self, kernels):
        kernel_of(nn.Linear(2, 1))
        folder = kernels / "toyml" / "kernels"
        assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
        assert sorted(path.suffix for path in folder.iterdir()) == [".c", ".so"]
        (library,) = folder.glob("*.so")
        whole = library.read_bytes()
        flipped = bytes([*whole[:5000], whole[5000] ^ 1, *whole[5001:]])
        for content in (whole[:100], whole[:-1], flipped, whole + b"x", b""):
            library.write_bytes(content)
            assert not kernel_of(nn.Linear(2, 1)).cached
            assert kernel_of(nn.Linear(2, 1)).cached

    @needs_compiler
    def test_a_cache_that_cannot_be_written_is_read(self, kernels, monkeypatch):
        kernel_of(nn.Linear(2, 1))
        can = os.access
        monkeypatch.setattr(
            os, "access", lambda path, *how: "kernels" not in str(path) and can(path, *how)
        )
        assert kernel_of(nn.Linear(2, 1)).cached
        assert not kernel_of(nn.Linear(3, 1)).cached
        assert len(list(kernels.glob("toyml/kernels/*.so"))) == 1

    @needs_compiler
    @pytest.mark.parametrize("place", [".", "toyml", "toyml/kernels"])
    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
    def test_a_folder_that_others_may_write_to_is_not_used(self, place, mode, kernels, capsys):
        say_uncached.cache_clear()
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        folder = kernels / "toyml" / "kernels"
        folder.mkdir(parents=True, mode=0o700)
        (kernels / place).chmod(mode)
        for _ in range(2):
            kernel = compile_training(net, loss, RULES["sgd"](net), len(x))
            assert not kernel.cached
        assert kernel.run(x, y, 3).steps_done == 3
        assert list(folder.iterdir()) == []
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert str(kernels / place) in said[0]
        assert "other users may write to it" in said[0]

    @needs_compiler
    @pytest.mark.parametrize("place", ["toyml", "toyml/kernels"])
    def test_a_link_is_not_followed(self, place, kernels):
        kernel_of(nn.Linear(2, 1))
        (kernels / place).rename(kernels / "elsewhere")
        (kernels / place).symlink_to(kernels / "elsewhere")
        assert not kernel_of(nn.Linear(2, 1)).cached

    @needs_compiler
    def test_a_library_that_is_a_link_or_writable_by_others_is_not_loaded(self, kernels):
        kernel_of(nn.Linear(2, 1))
        (library,) = kernels.glob("toyml/kernels/*.so")
        library.chmod(0o666)
        assert not kernel_of(nn.Linear(2, 1)).cached
        library.rename(kernels / "elsewhere.so")
        library.symlink_to(kernels / "elsewhere.so")
        assert not kernel_of(nn.Linear(2, 1)).cached
        library.unlink()
        os.mkfifo(library)
        assert not kernel_of(nn.Linear(2, 1)).cached


ANOTHER = 65534
"""Another user of the machine."""


def as_another(work):
    """Start a child that does its work as another user; its process."""
    child = multiprocessing.get_context("fork").Process(target=_become, args=(work,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads are not used there
        child.start()
    return child


def _become(work):
    os.setgroups([])
    os.setgid(ANOTHER)
    os.setuid(ANOTHER)
    work()
    os._exit(0)


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a second user")
class TestAnotherUser:
    """Somebody else's library, with a constructor that leaves a mark, in the place of ours."""

    @pytest.fixture
    def foreign(self, tmp_path):
        """The library, as it would stand in the cache, and its mark."""
        mark = tmp_path / "mark"
        text = tmp_path / "foreign.c"
        text.write_text(
            "#include <stdio.h>\n__attribute__((constructor)) static void run(void) "
            f'{{ FILE *f = fopen("{mark}", "w"); if (f) fclose(f); }}\n'
        )
        library = tmp_path / "foreign.so"
        command, _ = find_compiler()
        subprocess.run([*command, "-shared", "-fPIC", str(text), "-o", str(library)], check=True)
        ctypes.CDLL(str(library))
        assert mark.exists(), "the mark is left when it is loaded"
        mark.unlink()
        content = library.read_bytes()
        return content + hashlib.sha256(content).digest(), mark

    @pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777])
    def test_a_folder_of_theirs_is_not_used(self, mode, foreign, kernels, monkeypatch):
        content, mark = foreign
        kernel_of(nn.Linear(2, 1))
        (library,) = kernels.glob("toyml/kernels/*.so")
        # They were there first: the cache home is to be made below a folder of theirs.
        shared = Path(tempfile.mkdtemp(dir=kernels))
        shared.chmod(mode)
        os.chown(shared, ANOTHER, ANOTHER)
        (shared / "toyml/kernels").mkdir(parents=True)
        (shared / "toyml/kernels" / library.name).write_bytes(content)
        monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
        assert not kernel_of(nn.Linear(2, 1)).cached
        assert not mark.exists()

    def test_a_library_of_theirs_is_not_loaded(self, foreign, kernels):
        content, mark = foreign
        kernel_of(nn.Linear(2, 1))
        (library,) = kernels.glob("toyml/kernels/*.so")
        library.write_bytes(content)
        os.chown(library, ANOTHER, ANOTHER)
        assert not kernel_of(nn.Linear(2, 1)).cached
        assert not mark.exists()

    @pytest.mark.parametrize("mode", [0o777, 0o1777])
    def test_renaming_back_and_forth_runs_nothing_of_theirs(
        self, mode, foreign, kernels, monkeypatch
    ):
        content, mark = foreign
        with tempfile.TemporaryDirectory() as name:
            kernel_of(nn.Linear(2, 1))
            (library,) = kernels.glob("toyml/kernels/*.so")
            shared = Path(name)
            shared.chmod(mode)
            monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
            os.chown(mark.parent, ANOTHER, ANOTHER)  # they may leave their mark

            def swap():
                theirs = shared / "theirs"
                (theirs / "kernels").mkdir(parents=True)
                (theirs / "kernels" / library.name).write_bytes(content)
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    for a, b in (("toyml", "ours"), ("theirs", "toyml"), ("toyml", "theirs")):
                        with suppress(OSError):
                            (shared / a).rename(shared / b)

            child = as_another(swap)
            try:
                while not (shared / "theirs").exists() and not (shared / "toyml").exists():
                    time.sleep(0.01)
                for _ in range(5):
                    assert not kernel_of(nn.Linear(2, 1)).cached
            finally:
                child.kill()
                child.join()
            assert not mark.exists()
