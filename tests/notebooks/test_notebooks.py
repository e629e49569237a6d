from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = ("perceptron",)
LIMIT = 500_000  # bytes, so that a repository page shows them


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_finished_and_belongs_to_a_config(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    assert path.stat().st_size < LIMIT
    assert (ROOT / "configs" / f"{path.stem}.yaml").exists()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    # Paths of the machine that ran it belong to nobody else.
    assert not re.search(
        r"/(tmp|home|root|Users|usr|work)/", str([plain(output) for output in outputs])
    )


def plain(output: dict[str, Any]) -> dict[str, Any]:
    """An output without its pictures, whose letters may spell anything."""
    shown = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
    return {**output, "data": shown}


def case(path: Path) -> object:
    # One of them always, all of them where there is time.
    return pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
@pytest.mark.parametrize("path", [case(path) for path in NOTEBOOKS])
def test_a_notebook_runs_from_a_clean_kernel(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
