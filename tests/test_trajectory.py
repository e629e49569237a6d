"""The trajectory file: appended to, readable while written, torn ends ignored."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toyml import measures
from toyml.errors import UserError
from toyml.trajectory import Trajectory, TrajectoryWriter

SHAPES = {"a.weight": (3, 2), "a.bias": (3,), "scale": ()}


def pieces(step: int) -> list[torch.Tensor]:
    return [torch.full((n,), float(step) + i) for i, n in enumerate((6, 3, 1))]


def write(folder: Path, steps: list[int], dtype: str = "<f4") -> TrajectoryWriter:
    writer = TrajectoryWriter(folder, SHAPES, np.dtype(dtype))
    for step in steps:
        writer.append(
            step,
            parameters=[
                p.to(torch.float64 if dtype == "<f8" else torch.float32) for p in pieces(step)
            ],
        )
    return writer


@given(
    st.lists(st.integers(0, 10_000), unique=True, max_size=20).map(sorted),
    st.sampled_from(["<f4", "<f8"]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("t")
    write(folder, steps, dtype).close()
    trajectory = Trajectory(folder)
    assert trajectory.steps.tolist() == steps
    assert trajectory.parameters["a.weight"].shape == (len(steps), 3, 2)
    for step in steps:
        state = trajectory.at(step)
        assert torch.equal(
            state["a.bias"], torch.full((3,), step + 1.0, dtype=state["a.bias"].dtype)
        )
        assert state["scale"].item() == step + 2


def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    writer = write(tmp_path, [0, 1])
    assert Trajectory(tmp_path).steps.tolist() == [0, 1]
    writer.append(2, parameters=pieces(2))
    assert Trajectory(tmp_path).steps.tolist() == [0, 1, 2]
    writer.close()


@given(st.integers(0, 47))
def test_a_torn_end_is_ignored_and_written_over(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, [0, 1, 2]).close()
        rows = folder / "rows.bin"
        size = rows.stat().st_size // 3
        rows.write_bytes(rows.read_bytes()[: 2 * size + cut % size])
        assert Trajectory(folder).steps.tolist() == [0, 1]
        write(folder, [2, 3]).close()
        assert Trajectory(folder).steps.tolist() == [0, 1, 2, 3]


def test_a_step_is_recorded_once(tmp_path: Path) -> None:
    write(tmp_path, [0, 1, 1, 0, 2]).close()
    assert Trajectory(tmp_path).steps.tolist() == [0, 1, 2]


def test_rows_in_bulk_are_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "a", [0, 1, 2]).close()
    writer = TrajectoryWriter(tmp_path / "b", SHAPES, np.dtype("<f4"))
    writer.append_rows(np.arange(2), np.stack([torch.cat(pieces(s)).numpy() for s in range(2)]))
    writer.append_rows(np.arange(3), np.stack([torch.cat(pieces(s)).numpy() for s in range(3)]))
    writer.close()
    assert (tmp_path / "a/rows.bin").read_bytes() == (tmp_path / "b/rows.bin").read_bytes()


def test_cutting_keeps_what_is_cut(tmp_path: Path) -> None:
    writer = write(tmp_path, [0, 5, 10, 15])
    before = (tmp_path / "rows.bin").read_bytes()
    writer.cut_after(7)
    assert Trajectory(tmp_path).steps.tolist() == [0, 5]
    assert (tmp_path / "rows.bin").read_bytes() + (
        tmp_path / "rows.after_7.0.bin"
    ).read_bytes() == before
    writer.append(10, parameters=pieces(10))
    writer.cut_after(5)
    writer.close()
    assert Trajectory(tmp_path).steps.tolist() == [0, 5]
    assert len(list(tmp_path.glob("rows.after_*"))) == 2


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [0]).close()
    with pytest.raises(UserError, match="other parameters"):
        TrajectoryWriter(tmp_path, {"b": (2,)}, np.dtype("<f4"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "layout"),
        ("{}", "layout"),
        ("[1]", "layout"),
        ('{"format": 9, "dtype": "<f4", "parameters": [], "extras": []}', "format 9"),
    ],
)
def test_a_wrong_layout_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "layout.json").write_text(text)
    with pytest.raises(UserError, match=words):
        Trajectory(tmp_path)


def test_steps_that_fall_are_damage(tmp_path: Path) -> None:
    write(tmp_path, [0, 1, 2]).close()
    rows = tmp_path / "rows.bin"
    data = rows.read_bytes()
    size = len(data) // 3
    rows.write_bytes(data[size:] + data[:size])
    with pytest.raises(UserError, match="damaged"):
        Trajectory(tmp_path)


def test_no_trajectory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trajectory"):
        Trajectory(tmp_path)


@given(st.integers(1, 400), st.integers(2, 50))
@settings(deadline=None)
def test_thinning_keeps_the_ends(count: int, most: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), list(range(0, 3 * count, 3))).close()
        trajectory = Trajectory(Path(name))
        for chosen in (trajectory.thinned(most), trajectory.thinned_log(most)):
            assert chosen[0] == 0
            assert chosen[-1] == count - 1
            assert len(chosen) <= most + 1
            assert (np.diff(chosen) > 0).all()


def test_large_snapshots_are_thinned_to_what_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, list(range(50))).close()
    trajectory = Trajectory(tmp_path)
    assert len(trajectory.thinned(50)) == 50
    assert trajectory.fewest is None, "all of them were looked at"
    monkeypatch.setattr("toyml.trajectory.AT_ONCE", 125)  # a snapshot has ten numbers
    assert trajectory.affordable(50) == 12
    assert trajectory.affordable(7) == 7
    assert trajectory.affordable(50, each=100) == 2
    assert len(trajectory.thinned_log(50)) <= 13
    assert trajectory.thinned(50).tolist()[::11] == [0, 49]
    assert len(trajectory.thinned(5)) == trajectory.fewest == 5
    assert len(trajectory.thinned(9)) == 9
    assert trajectory.fewest == 5


def test_steps_that_fall_by_more_than_an_integer_holds(tmp_path: Path) -> None:
    write(tmp_path, [0, 1, 2]).close()
    record = Trajectory(tmp_path)._record
    for steps in ([5, -(2**63), 6], [0, 1, 2**53], [-1, 0, 1], [0, 0, 1]):
        rows = np.zeros(3, record)
        rows["step"] = steps
        rows.tofile(tmp_path / "rows.bin")
        with pytest.raises(UserError, match=r"rows.bin is damaged: its steps do not increase"):
            Trajectory(tmp_path)


def test_more_steps_than_are_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toyml.trajectory.STEPS_AT_ONCE", 2)
    write(tmp_path, [0, 1, 5, 7, 8]).close()
    assert Trajectory(tmp_path).steps.tolist() == [0, 1, 5, 7, 8]
    rows = np.fromfile(tmp_path / "rows.bin", Trajectory(tmp_path)._record)
    rows["step"] = [0, 1, 1, 7, 8]
    rows.tofile(tmp_path / "rows.bin")
    with pytest.raises(UserError, match="do not increase"):
        Trajectory(tmp_path)


def test_the_name_of_a_scalar_by_its_place(tmp_path: Path) -> None:
    write(tmp_path, [0]).close()
    names = [Trajectory(tmp_path).scalar_name(i) for i in range(10)]
    assert names == measures.scalar_names({k: torch.zeros(1, *s) for k, s in SHAPES.items()})


CONSTANTS = {
    "mask": torch.tensor([[1.0, 0.0, 2.0]]),
    "count": torch.tensor(7),
    "none": torch.zeros(3, 0),
    "flags": torch.tensor([True, False]),
}


def test_constants_come_back(tmp_path: Path) -> None:
    TrajectoryWriter(tmp_path, SHAPES, np.dtype("<f4"), constants=CONSTANTS).close()
    found = Trajectory(tmp_path).constants
    assert found.keys() == CONSTANTS.keys()
    for name, value in CONSTANTS.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype
    np.savez(tmp_path / "constants.npz", a=np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]))
    assert Trajectory(tmp_path).constants["a"].tolist() == [[1, 2], [3, 4]]


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("member", "packed"),
    [
        (header("(10000000000000,)"), False),
        (header("(-1,)") + bytes(8), False),
        (header("(2,)") + bytes(15), False),
        (header("(2,)") + bytes(17), False),
        (header("(1000000,)") + bytes(8_000_000), True),
        (header("(1,)", "|O") + bytes(8), False),
        (header("(1,)", "<U2") + bytes(8), False),
        (header("(1,)", ">f8") + bytes(8), False),
        (header("(1,)", "<c16") + bytes(16), False),
        (header("((((")[:40], False),
        (b"\x93NUMPY\x09\x00", False),
        (b"", False),
        (b"cos\nsystem\n(S'true'\ntR.", False),
    ],
    ids=range(13),
)
def test_constants_that_are_none(member: bytes, packed: bool, tmp_path: Path) -> None:
    write(tmp_path, [0]).close()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "constants.npz", "w", kind) as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(UserError, match=r"constants.npz is damaged: ") as caught:
        Trajectory(tmp_path).constants  # noqa: B018
    assert "\n" not in str(caught.value)


def test_a_constant_file_of_terabytes_or_cut(tmp_path: Path) -> None:
    TrajectoryWriter(tmp_path, SHAPES, np.dtype("<f4"), constants=CONSTANTS).close()
    path = tmp_path / "constants.npz"
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="is damaged"):
            Trajectory(tmp_path).constants  # noqa: B018
    os.truncate(path, 2**42)
    with pytest.raises(UserError, match="more than"):
        Trajectory(tmp_path).constants  # noqa: B018
