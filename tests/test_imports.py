"""Who may import whom: the rules of the house, kept by walking the imports."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "toyml"
FORBIDDEN = {
    "models": {"lightning", "matplotlib"},
    "losses": {"lightning", "matplotlib"},
    "optim": {"lightning", "matplotlib"},
    "measures": {"lightning", "matplotlib"},
    "theory": {"lightning", "matplotlib"},
    "compiled": {"lightning", "matplotlib"},
    "replicas": {
        "toyml.models",
        "toyml.losses",
        "toyml.data",
        "toyml.tasks",
        "lightning",
        "matplotlib",
    },
    "plots": {"torch", "lightning"},
    "report": {"torch", "lightning", "matplotlib"},
    "reference": {"torch", "lightning", "matplotlib"},
    "tasks": {"toyml.models", "toyml.losses", "toyml.data", "matplotlib"},
    "engine": {"toyml.models", "toyml.losses", "toyml.data", "toyml.tasks", "matplotlib"},
    "views": {"matplotlib", "plotly", "toyml.plots", "toyml.callbacks", "toyml.report"},
    "claims": {"matplotlib", "toyml.plots", "toyml.callbacks", "toyml.views"},
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_direction(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    names = imports(path)
    for wall in FORBIDDEN.get(room, ()):
        crossing = [n for n in names if n == wall or n.startswith(wall + ".")]
        assert not crossing, f"{room} must not import {crossing}"
    if room not in ("cli", "__main__.py"):
        assert not [n for n in names if n.startswith("toyml.cli")], "nothing imports cli"


def test_no_circles() -> None:
    """Modules can be put in an order in which each imports only earlier ones."""
    modules = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in files()
    }
    graph = {
        name: {n for n in top_level_imports(path) if n in modules and n != name}
        for name, path in modules.items()
    }
    # A package's __init__ gathers its own modules; that is no circle between rooms.
    rooms = {name: ".".join(name.split(".")[:2]) for name in modules}
    edges = {
        (rooms[a], rooms[b])
        for a, targets in graph.items()
        for b in targets
        if rooms[a] != rooms[b]
    }
    remaining = {r for edge in edges for r in edge}
    while remaining:
        free = {r for r in remaining if not any(a == r and b in remaining for a, b in edges)}
        assert free, f"circle among {sorted(remaining)}"
        remaining -= free


def top_level_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["list"], ["report", "--help"], ["sweep", "--help"]]
)
def test_light_commands_import_neither_torch_nor_matplotlib(words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['toyml', *{words!r}]\n"
        "from toyml.cli import console\n"
        "try: console()\n"
        "except SystemExit: pass\n"
        "heavy = set('torch matplotlib lightning numpy'.split()) & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_importing_toyml_alone_is_light() -> None:
    code = "import toyml, sys; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("before", "environment", "threads"),
    [
        ("import torch", {}, 1),
        ("", {}, 1),
        ("import torch; torch.set_num_threads(os.cpu_count() + 1)", {}, (os.cpu_count() or 1) + 1),
        ("import torch", {"OMP_NUM_THREADS": "2"}, 2),
        ("import torch", {"MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_one_thread_unless_a_number_was_chosen(
    before: str, environment: dict[str, str], threads: int
) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    others = {name: value for name, value in os.environ.items() if name not in names}
    code = f"import os\n{before}\nimport toyml\nimport torch\nprint(torch.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == threads
