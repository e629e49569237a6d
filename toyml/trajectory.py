"""The recorded weights: an append-only file of fixed-size rows.

``trajectory/layout.json`` names the fields, ``trajectory/rows.bin`` holds one record per snapshot:

    step int64 | parameters [p] | gradients [p] (optional) | optimizer state [p] each (optional)
    | buffers [q], float64 (of a net that has some which change, such as running statistics)

``trajectory/constants.npz`` holds the buffers that do not change, once.

A record is written by one ``write``; how many there are follows from the file's size, so the file
can be read while it grows and a process killed at any moment leaves at most one torn record at
the end, which readers ignore. No pickle; any language can read it.
"""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml.errors import UserError
from toyml.files import beside, first_free, read_json, replace, writing

FORMAT = 1

AT_ONCE = 32_000_000
"""Most numbers that thinned snapshots hold together: 128 MB in float32."""

LARGEST_ROW = 2**31 - 1
"""Bytes of a row, as NumPy has it for a record."""
MOST_AXES = 16
BUFFER_TYPES = ("|b1", "|u1", "|i1", *(f"<{kind}" for kind in ("i2", "i4", "i8", "f2", "f4", "f8")))
"""What a buffer may consist of: these tensors and arrays are the same numbers."""
LAST = 2**53
"""Steps are below this, so that a float holds each of them."""
STEPS_AT_ONCE = 65_536
MOST_CONSTANTS = 2**30
"""Bytes of ``constants.npz``."""

Shapes = Mapping[str, Sequence[int]]


class TrajectoryWriter:
    """Append snapshots to ``folder``; an existing trajectory is continued.

    Attributes:
        last_step: Step of the last snapshot; -1 where there is none.
        continued: Whether there was a trajectory already.

    Args:
        folder: The ``trajectory`` folder; made if missing.
        shapes: Parameter names and shapes, in order.
        dtype: NumPy dtype of the values, ``float32`` or ``float64``.
        extras: Further fields with one value per parameter scalar, such as ``gradients``.
        buffers: The net's buffers that change while it trains, by name; kept in every snapshot.
        constants: Those that do not; kept once.

    Raises:
        UserError: The folder holds a trajectory of other parameters, or one that cannot be read,
            or another fit is recording into it.
        UnwrittenError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Shapes,
        dtype: np.dtype,
        extras: Sequence[str] = (),
        buffers: Mapping[str, Tensor] | None = None,
        constants: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.folder = folder
        layout: dict[str, Any] = {
            "format": FORMAT,
            "dtype": np.dtype(dtype).newbyteorder("<").str,
            "parameters": [[name, list(shape)] for name, shape in shapes.items()],
            "extras": list(extras),
        }
        if buffers:
            layout["buffers"] = [
                [name, list(b.shape), b.cpu().numpy().dtype.str] for name, b in buffers.items()
            ]
        rows = folder / "rows.bin"
        with writing(rows):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = rows.open("ab", buffering=0)
        try:
            self._claim(layout, constants or {})
        except BaseException:
            self._file.close()
            raise
        self.record = record_type(layout)
        # One row is filled in place and written again and again: nothing is built per snapshot.
        row = np.zeros(1, self.record)
        self._bytes = memoryview(row.view(np.uint8))  # type: ignore[arg-type]
        self._step = row["step"]
        self._fields = {name: torch.from_numpy(row[name][0]) for name in field_names(layout)}
        self._torn = os.fstat(self._file.fileno()).st_size % self.record.itemsize
        self.last_step = self._read_last_step()

    def _claim(self, layout: Mapping[str, Any], constants: Mapping[str, Tensor]) -> None:
        """See that the rows are this fit's to continue, before a byte of them is touched."""
        try:
            # The system gives it back when the process ends, however it ends.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another fit is recording into {self.folder.parent}; wait for its end, or record "
                "into a new run folder (leave --ckpt_path and trainer.logger.version out)"
            ) from error
        except OSError:
            pass  # a file system without locks
        path = self.folder / "layout.json"
        self.continued = path.exists()
        if self.continued:
            if read_layout(path) != layout:
                raise UserError(
                    f"{self.folder} holds a trajectory of other parameters; record into a new run "
                    "folder"
                )
        elif self._file.tell():
            raise UserError(
                f"{self.folder} holds rows but no {path.name} to read them by; record into a new "
                "run folder"
            )
        else:
            if constants:
                memory = io.BytesIO()
                arrays: dict[str, Any] = {name: b.cpu().numpy() for name, b in constants.items()}
                np.savez(memory, **arrays)
                replace(self.folder / "constants.npz", memory.getvalue())
            replace(path, json.dumps(layout, indent=1))

    def _cut_torn(self) -> None:
        """Take away a row that was begun and not ended.

        Not before something is written: until then the file may turn out to be another run's.
        """
        size = os.fstat(self._file.fileno()).st_size
        if torn := size % self.record.itemsize:
            self._file.truncate(size - torn)
        self._torn = 0

    def _read_last_step(self) -> int:
        size = (self.folder / "rows.bin").stat().st_size - self._torn
        if size < self.record.itemsize:
            return -1
        with (self.folder / "rows.bin").open("rb") as file:
            file.seek(size - self.record.itemsize)
            return int(np.frombuffer(file.read(8), "<i8")[0])

    def append(self, step: int, **fields: list[Tensor]) -> None:
        """Append one snapshot; a step that is already there is skipped.

        Args:
            step: Number of updates done.
            **fields: For each field the flat tensors that make it up, in parameter order.
        """
        if step <= self.last_step:
            return
        self._step[0] = step
        for name, pieces in fields.items():
            torch.cat(pieces, out=self._fields[name])
        self.last_step = step
        self._write(self._bytes)

    def append_rows(self, steps: NDArray[np.int64], rows: NDArray[np.floating]) -> None:
        """Append several snapshots [t, p] at once, in one write; of nets without buffers."""
        new = steps > self.last_step
        if not new.any():
            return
        records = np.zeros(int(new.sum()), self.record)
        records["step"], records["parameters"] = steps[new], rows[new]
        self.last_step = int(steps[new][-1])
        self._write(memoryview(records.view(np.uint8)))  # type: ignore[arg-type]

    def _write(self, rest: memoryview) -> None:
        if self._torn:
            self._cut_torn()
        # An unbuffered file may take less than it was given (a full disk does): write the rest.
        try:
            with writing(self.folder / "rows.bin"):
                while (written := self._file.write(rest)) < rest.nbytes:
                    rest = rest[written:]
        except BaseException:
            self._cut_torn()  # or a row that comes after all would begin in its middle
            raise

    def cut_after(self, step: int) -> None:
        """Set aside what was recorded after ``step``, before recording it again on a resume.

        The rows are not lost: they stay in ``rows.after_<step>.<i>.bin`` beside the file.
        """
        if self.last_step <= step:
            return
        self._cut_torn()
        rows = np.memmap(self.folder / "rows.bin", self.record, "r")
        keep = int(np.searchsorted(rows["step"], step, side="right"))
        aside = first_free(self.folder / f"rows.after_{step}.bin")
        with writing(aside), beside(aside) as draft:
            rows[keep:].tofile(draft)
        self._file.truncate(keep * self.record.itemsize)
        self.last_step = int(rows["step"][keep - 1]) if keep else -1

    def close(self) -> None:
        """Hand everything to the disk and close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def read_layout(path: Path) -> dict[str, Any]:
    """A ``layout.json``, read and checked.

    Raises:
        UserError: It is missing, or no layout of this version.
    """
    try:
        layout = read_json(path)
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} holds no trajectory (no {path.name})") from error
    try:
        see_layout(layout)
    except ValueError as error:
        raise UserError(f"{path} is not a trajectory layout: {error}") from error
    return dict(layout)


def see_layout(layout: Any) -> None:
    """See that a layout is one that can have been written.

    Raises:
        ValueError: It is not; the message says why.
    """
    if not isinstance(layout, dict) or not {"format", "dtype", "parameters", "extras"} <= {*layout}:
        raise ValueError("it does not hold format, dtype, parameters and extras")
    if layout["dtype"] not in ("<f4", "<f8"):
        raise ValueError(f"dtype {short(layout['dtype'])}; it has to be <f4 or <f8")
    if type(layout["format"]) is not int or layout["format"] != FORMAT:
        raise ValueError(f"format {short(layout['format'])}, this version reads {FORMAT}")
    extras, buffers = layout["extras"], layout.get("buffers", [])
    if not isinstance(extras, list) or not all(isinstance(e, str) for e in extras):
        raise ValueError(f"extras {short(extras)}; they have to be names")
    if len({*extras, "step", "parameters", "buffers"}) != len(extras) + 3:
        raise ValueError("a field stands there twice")
    width = np.dtype(layout["dtype"]).itemsize * (1 + len(extras))
    size = 8 + width * numbers_in(layout["parameters"], 2) + 8 * numbers_in(buffers, 3)
    if size > LARGEST_ROW:
        raise ValueError(f"a row of it would have {short(size)} bytes")
    if len({entry[0] for entry in (*layout["parameters"], *buffers)}) != len(
        layout["parameters"]
    ) + len(buffers):
        raise ValueError("a name stands there twice")


def numbers_in(entries: Any, length: int) -> int:
    """How many numbers the entries [name, shape] or [name, shape, dtype] of a layout stand for.

    An axis of length 0 counts as 1: the others are allocated with it.

    Raises:
        ValueError: An entry is none.
    """
    if not isinstance(entries, list):
        raise ValueError(f"{short(entries)} is no list of names and shapes")
    count = 0
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != length or not isinstance(entry[0], str):
            raise ValueError(f"{short(entry)} is no name with its shape")
        shape = entry[1]
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"the shape of {short(entry[0])} is {short(shape)}")
        if len(shape) > MOST_AXES:
            raise ValueError(f"{short(entry[0])} has {len(shape)} axes")
        if length > 2 and entry[2] not in BUFFER_TYPES:
            raise ValueError(f"{short(entry[0])} has dtype {short(entry[2])}; it has to be numbers")
        count += math.prod(max(n, 1) for n in shape)
    return count


def short(value: Any) -> str:
    """A value in few letters."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**40 else "10**40 or more"
    return text if len(text) <= 60 else text[:57] + "..."


def field_names(layout: Mapping[str, Any]) -> list[str]:
    """Names of the fields that follow the step."""
    return ["parameters", *layout["extras"], *(["buffers"] if layout.get("buffers") else [])]


def record_type(layout: Mapping[str, Any]) -> np.dtype:
    """The NumPy record of one snapshot."""
    p = sum(int(np.prod(shape)) for _, shape in layout["parameters"])
    fields = [(name, layout["dtype"], (p,)) for name in ("parameters", *layout["extras"])]
    if buffers := layout.get("buffers"):
        fields.append(("buffers", "<f8", (sum(int(np.prod(shape)) for _, shape, _ in buffers),)))
    return np.dtype([("step", "<i8"), *fields])


class Trajectory:
    """The snapshots of a run, read from disk as they are asked for.

    Attributes:
        steps: Number of updates done at each snapshot [t], increasing.
        shapes: Parameter names and shapes.
        parameters: Mapping from parameter name to its values [t, ...], views of the file.
        fewest: The least number of snapshots that stood for the whole since it was opened;
            ``None`` while every question was answered from all of them.

    Args:
        folder: The ``trajectory`` folder of a run.

    Raises:
        UserError: The folder holds no readable trajectory.
    """

    def __init__(self, folder: Path) -> None:
        layout = read_layout(folder / "layout.json")
        self.shapes: dict[str, tuple[int, ...]] = {
            str(name): tuple(int(i) for i in shape) for name, shape in layout["parameters"]
        }
        self.extras = tuple(str(name) for name in layout["extras"])
        self.buffers: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            str(name): (tuple(int(i) for i in shape), np.dtype(dtype))
            for name, shape, dtype in layout.get("buffers", [])
        }
        self._constants = folder / "constants.npz"
        self._record = record_type(layout)
        rows = folder / "rows.bin"
        try:
            count = rows.stat().st_size // self._record.itemsize if rows.exists() else 0
            self._rows: NDArray[np.void] = (
                np.memmap(rows, self._record, "r", shape=(count,))
                if count
                else np.zeros(0, self._record)
            )
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"{rows} cannot be read: {error}") from error
        try:
            self.steps = increasing(self._rows)
        except ValueError as error:
            raise UserError(f"{rows} is damaged: {error}") from error
        self.parameters = _Fields(self._rows["parameters"], self.shapes)
        self.fewest: int | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def extra(self, name: str) -> _Fields:
        """A further recorded field, such as ``gradients``, by parameter name.

        Raises:
            UserError: It was not recorded.
        """
        if name not in self.extras:
            option = "gradients" if name == "gradients" else "optimizer_state"
            raise UserError(f"{name} was not recorded; set {option}: true on the Recorder")
        return _Fields(self._rows[name], self.shapes)

    def scalar_name(self, column: int) -> str:
        """The name of a scalar parameter by its place in the row, such as ``"0.weight[0,1]"``."""
        for name, place, shape in spans(self.shapes):
            if column < place.stop:
                inside = np.unravel_index(column - place.start, shape) if shape else ()
                return f"{name}[{','.join(map(str, inside))}]" if shape else name
        raise IndexError(f"there is no parameter {column}")

    def index(self, step: int) -> int:
        """Position of the snapshot taken after ``step`` updates.

        Raises:
            KeyError: There is none.
        """
        i = int(np.searchsorted(self.steps, step))
        if i == len(self.steps) or self.steps[i] != step:
            raise KeyError(f"step {step} was not recorded")
        return i

    def points(
        self, indices: Sequence[int] | NDArray[np.int64] | slice = slice(None)
    ) -> dict[str, Tensor]:
        """Points of parameter space as tensors by parameter name [t, ...], copied into memory."""
        flat = torch.from_numpy(np.array(self._rows["parameters"][indices]))
        return {name: flat[:, s].reshape(-1, *shape) for name, s, shape in spans(self.shapes)}

    def select(
        self, indices: Sequence[int] | NDArray[np.int64] | slice = slice(None)
    ) -> dict[str, Tensor]:
        """What a net needs to act as it did at snapshots: parameters and buffers, [t, ...] by name.

        For a net without buffers that change it is :meth:`points`.
        """
        found = self.points(indices)
        if self.buffers:
            flat = np.array(self._rows["buffers"][indices])
            shapes = {name: shape for name, (shape, _) in self.buffers.items()}
            for name, place, shape in spans(shapes):
                with np.errstate(all="ignore"):  # of a damaged row anything may come
                    values = flat[:, place].reshape(-1, *shape).astype(self.buffers[name][1])
                found[name] = torch.from_numpy(values)
        return found

    @property
    def constants(self) -> dict[str, Tensor]:
        """The buffers that did not change, by name.

        Raises:
            UserError: Their file cannot be read.
        """
        if not self._constants.exists():
            return {}
        try:
            return read_arrays(self._constants)
        except (*(ValueError, OSError, KeyError, TypeError, EOFError), *UNZIP_ERRORS) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self._constants} is damaged: {words}") from error

    def at(self, step: int) -> dict[str, Tensor]:
        """The parameters after ``step`` updates.

        Raises:
            KeyError: That step was not recorded.
        """
        i = self.index(step)
        return {name: value[0] for name, value in self.points([i]).items()}

    def thinned(self, most: int) -> NDArray[np.int64]:
        """Indices of at most ``most`` snapshots, first and last among them, evenly spread.

        Of large ones there are fewer, so that all together hold at most ``AT_ONCE`` numbers.
        """
        most = self.affordable(most)
        if len(self) <= most:
            return np.arange(len(self))
        return self._noted(np.linspace(0, len(self) - 1, most).round())

    def thinned_log(self, most: int) -> NDArray[np.int64]:
        """Indices of at most ``most`` snapshots, evenly spread in the logarithm of step + 1.

        Of large ones there are fewer, as for :meth:`thinned`.
        """
        if len(self) == 0:
            return np.arange(0)
        most = self.affordable(most)
        grid = np.expm1(np.linspace(0, np.log1p(self.steps[-1] - self.steps[0]), most))
        found = np.searchsorted(self.steps, self.steps[0] + grid.round().astype(np.int64))
        return self._noted(np.concatenate([[0], found, [len(self) - 1]]).clip(0, len(self) - 1))

    def affordable(self, most: int, each: int = 1) -> int:
        """At most so many snapshots, and no more than ``AT_ONCE`` numbers, but two at least.

        Args:
            most: How many at most.
            each: Numbers held, or passes over the net made, for each parameter of a snapshot.
        """
        numbers: int = self.parameters.flat.shape[1] * each
        return max(2, min(most, AT_ONCE // max(numbers, 1)))

    def _noted(self, indices: NDArray[np.number]) -> NDArray[np.int64]:
        chosen = np.unique(indices.astype(np.int64))
        if len(chosen) < len(self):
            self.fewest = min(self.fewest or len(chosen), len(chosen))
        return chosen


def increasing(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """The steps of rows [t], looked at piece by piece: a file may have terabytes of nothing.

    Raises:
        ValueError: They do not increase.
    """
    pieces, last = [np.zeros(0, np.int64)], -1
    for start in range(0, len(rows), STEPS_AT_ONCE):
        steps = np.ascontiguousarray(rows["step"][start : start + STEPS_AT_ONCE])
        if steps[0] <= last or steps[-1] >= LAST or (steps[1:] <= steps[:-1]).any():
            raise ValueError("its steps do not increase")
        pieces.append(steps)
        last = int(steps[-1])
    return np.concatenate(pieces)


UNZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, SyntaxError)
"""What Python's reader of archives, and NumPy's of headers, raise about damaged ones."""


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Arrays by name, as ``np.savez`` writes them; no larger ones than the file itself.

    Raises:
        ValueError: There is something else in it.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if path.stat().st_size > MOST_CONSTANTS:
        raise ValueError(f"it has more than {MOST_CONSTANTS:,} bytes")
    found: dict[str, Tensor] = {}
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise ValueError("its arrays are larger than the file")
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                if version not in readers:
                    raise ValueError(f"{short(member.filename)} has format {version}")
                shape, transposed, dtype = readers[version](file)
                name = member.filename.removesuffix(".npy")
                numbers_in([[name, list(shape), dtype.str]], 3)
                data = file.read()
                if len(data) != dtype.itemsize * math.prod(shape):
                    raise ValueError(f"{short(name)} is not whole")
                order: Any = "F" if transposed else "C"
                values = np.ndarray(shape, dtype, bytearray(data), order=order)
                found[name] = torch.from_numpy(values.copy(order="C"))
    return found


def spans(shapes: Shapes) -> Iterator[tuple[str, slice, tuple[int, ...]]]:
    """Name, place in the flat row, and shape of each parameter."""
    start = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        yield name, slice(start, start + size), tuple(shape)
        start += size


class _Fields(Mapping[str, NDArray[np.floating]]):
    """A flat field [t, p] as a mapping from parameter name to [t, ...]."""

    def __init__(self, flat: NDArray[np.floating], shapes: Shapes) -> None:
        self.flat = flat
        self._spans = {name: (place, shape) for name, place, shape in spans(shapes)}

    def __getitem__(self, name: str) -> NDArray[np.floating]:
        place, shape = self._spans[name]
        return self.flat[:, place].reshape(len(self.flat), *shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
