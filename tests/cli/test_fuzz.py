"""Random settings and files: a fit, a report, or one line and status 2; never a trace-back."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import console, main
from toyml.plots import style


def tries(count: int) -> settings:
    """So many examples; a failing one is not shrunk, since each is a whole fit."""
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )


def typed(words: list[str]) -> tuple[int, list[str]]:
    """What a command typed in a terminal ends in: its status and the lines on stderr."""
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setattr("sys.argv", ["toyml", *words])
        patch.setattr("sys.path", list(sys.path))
        with redirect_stderr(err):
            status = console()
    return status, [line for line in err.getvalue().splitlines() if line.strip()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_default_dtype(torch.float32)


def sweep(folder: Path) -> None:
    """Empty a folder for the next example."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# -- settings that make sense --------------------------------------------------------------------


def of(name: str, /, **choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A class path with random settings, each left out or given."""
    given = st.fixed_dictionaries({}, optional=choices)
    return given.map(lambda init: {"class_path": name, "init_args": init})


RATE = st.floats(1e-5, 0.5)
OPTIMIZER = st.one_of(
    of("torch.optim.SGD", momentum=st.floats(0, 0.99), weight_decay=st.floats(0, 0.1)),
    of("torch.optim.Adam", amsgrad=st.booleans(), eps=st.floats(1e-10, 1e-3)),
    of("torch.optim.AdamW", weight_decay=st.floats(0, 0.1)),
    of("torch.optim.RMSprop", centered=st.booleans()),
    of("torch.optim.Adagrad"),
    of("torch.optim.Rprop"),
)
SCHEDULER = st.one_of(
    st.none(),
    of("torch.optim.lr_scheduler.ExponentialLR").map(
        lambda s: {**s, "init_args": {"gamma": 0.9, **s["init_args"]}}
    ),
    st.just({"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 2}}),
)
HIDDEN = st.sampled_from(["Tanh", "Sigmoid", "ReLU", "GELU", "Softplus", "ELU"]).map(
    "torch.nn.{}".format
)
LOADER = {
    "batch_size": st.none() | st.integers(1, 9),
    "shuffle": st.booleans(),
    "seed": st.integers(0, 9),
    "block_size": st.integers(1, 9),
}
ROWS = {**LOADER, "n": st.integers(2, 12), "noise": st.floats(0, 0.5)}
LABELS = st.one_of(
    of("toyml.data.TwoPoints", centered=st.booleans(), **LOADER),
    of("toyml.data.Xor", repeats=st.integers(1, 3), **LOADER),
    of("toyml.data.Moons", **ROWS),
    of("toyml.data.Rings", **ROWS),
)
VALUES = st.one_of(
    of("toyml.data.NoisyParabola", **ROWS),
    of("toyml.data.DampedSine", **{**ROWS, "n": st.integers(3, 12)}),
)
PROBLEMS = st.one_of(
    st.tuples(LABELS, st.just(2), st.just("torch.nn.BCEWithLogitsLoss")),
    st.tuples(LABELS, st.just(2), st.sampled_from(["torch.nn.MSELoss", "torch.nn.SoftMarginLoss"])),
    st.tuples(
        VALUES,
        st.just(1),
        st.sampled_from(["MSE", "L1", "Huber", "SmoothL1"]).map("torch.nn.{}Loss".format),
    ),
)
RECORDER = of(
    "toyml.callbacks.Recorder",
    every=st.integers(1, 3),
    gradients=st.booleans(),
    optimizer_state=st.booleans(),
)
LEAST = 1e-7
"""An update of this size changes a weight, which is of size one, also in float32."""
TRAINER = st.fixed_dictionaries(
    {"max_steps": st.integers(1, 9)},
    optional={
        "precision": st.sampled_from(["32-true", "64-true", "bf16-mixed"]),
        "gradient_clip_val": st.floats(0.01, 10),
        "accumulate_grad_batches": st.integers(1, 3),
        "log_every_n_steps": st.integers(1, 5),
        "deterministic": st.booleans(),
        "enable_progress_bar": st.just(False),
    },
)


@st.composite
def experiments(draw: Callable[..., Any]) -> dict[str, Any]:
    """A config that makes sense."""
    data, inputs, loss = draw(PROBLEMS)
    optimizer = draw(OPTIMIZER)
    optimizer["init_args"]["lr"] = draw(RATE)
    widths = [inputs, *draw(st.lists(st.integers(1, 4), max_size=2)), 1]
    net = {
        "class_path": "toyml.models.MLP",
        "init_args": {"widths": widths, "bias": draw(st.booleans())},
    }
    if len(widths) > 2:
        net["init_args"]["activation"] = draw(HIDDEN)
    model = {"net": net, "loss": loss, "optimizer": optimizer}
    if optimizer["class_path"].endswith(("SGD", "AdamW")):  # the others have nothing to decay with
        model["decay_bias"] = draw(st.booleans())
    model["lr_scheduler"] = draw(SCHEDULER)
    trainer = draw(TRAINER)
    trainer["callbacks"] = [draw(RECORDER), "toyml.callbacks.LastCheckpoint"]
    return {
        "seed_everything": draw(st.integers(0, 2**32 - 1)),
        "model": {"class_path": "toyml.tasks.Supervised", "init_args": model},
        "data": data,
        "trainer": trainer,
    }


def it_fits(here: Path, config: dict[str, Any]) -> None:
    sweep(here)
    Path("x.yaml").write_text(yaml.safe_dump(config))
    status, lines = typed(["fit", "--config=x.yaml"])
    assert status == 0, lines
    assert [p.name for p in Path("runs/x").iterdir()] == ["version_0"]
    run = Run.load("runs/x/version_0")
    steps = config["trainer"]["max_steps"]
    assert run.finished
    assert run.trajectory.steps[0] == 0
    assert run.trajectory.steps[-1] == run.summary["steps"] == steps
    assert np.isfinite(run.trajectory.parameters.flat).all()
    see_that_it_moved(run)
    event(config["data"]["class_path"])


def see_that_it_moved(run: Run) -> None:
    """The weights change where the recorded gradients say so; a net of dead ReLUs has none."""
    if "gradients" not in run.trajectory.extras:
        return
    gradients = run.trajectory.extra("gradients").flat
    size = np.nanmax(np.abs(gradients), initial=0)
    # Of a gradient that is clipped to a norm of 0.01 the largest of some 20 entries is this large.
    least = run.setting("model.optimizer.lr") * min(size, 1e-3)
    moved = not np.array_equal(*run.trajectory.parameters.flat[[0, -1]])
    event(f"moved: {moved}")
    assert moved or least < LEAST


@given(experiments())
@tries(8)
def test_settings_that_make_sense_fit(here: Path, config: dict[str, Any]) -> None:
    it_fits(here, config)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(experiments())
@tries(150)
def test_many_settings_that_make_sense_fit(here: Path, config: dict[str, Any]) -> None:
    it_fits(here, config)


# -- settings that make none ---------------------------------------------------------------------

# Each of these is wrong for its key, whatever the rest is.
NUMBERS = ["nan", ".inf", "-.inf", "-1", "-0.5", "abc", "[1]", "{}", "null", "1e999"]
COUNTS = ["0", "-1", "1.5", "nan", "abc", "[1]", "1e3", "null", "{a: 1}"]
CLASSES = ["abc", "torch.nn.Nope", "no.such.Class", "os.system", "torch.load", "5", "[]"]
FLAGS = ["abc", "2", "0.5", "[true]"]
WRONG: dict[str, list[str]] = {
    "model.optimizer.lr": [*NUMBERS, "0"],
    "model.optimizer.momentum": NUMBERS,
    "model.optimizer.weight_decay": NUMBERS,
    "model.optimizer": [*CLASSES, "torch.nn.Linear", "toyml.models.MLP", "toyml.data.Moons"],
    "model.optimizer.nope": ["1", "abc", "null"],
    "model.loss": [*CLASSES, "torch.nn.NLLLoss", "torch.optim.SGD", "torch.nn.CosineEmbeddingLoss"],
    "model.net": [*CLASSES, "torch.optim.SGD", "toyml.data.Moons", "torch.nn.Linear"],
    "model.net.inputs": [*COUNTS, "3", "99999"],
    "model.net.outputs": [*COUNTS, "2"],
    "model.net.output_activation": CLASSES,
    "model.decay_bias": FLAGS,
    "model.metrics": [
        "abc",
        "[1]",
        "{a: 5}",
        "{a: torch.nn.ReLU}",
        "{loss: torchmetrics.MeanMetric}",
    ],
    "model.lr_scheduler": ["abc", "5", "torch.nn.ReLU", "torch.optim.SGD"],
    "model": ["abc", "5", "torch.nn.ReLU", "toyml.data.Moons", "[1]"],
    "data": ["abc", "5", "toyml.models.MLP", "null", "toyml.data.Nope", "[1]"],
    "data.batch_size": ["0", "-1", "1.5", "abc", "[1]"],
    "data.block_size": COUNTS,
    "data.shuffle": FLAGS,
    "data.labels": ["[1]", "[1, 2]", "[0, 1, 0]", "abc", "5", "[[1], [0]]", "[.nan, 0]"],
    "data.points": ["[[1, 2]]", "[1, 2]", "abc", "[[1], [2]]", "[[1, 2], [3]]", "[]"],
    "data.nope": ["1"],
    "trainer.max_steps": ["0", "-1", "-7", "1.5", "abc", "[1]", "null"],
    "trainer.precision": ["17", "abc", "null x", "[1]"],
    "trainer.gradient_clip_val": ["abc", "[1]", "{}"],
    "trainer.accumulate_grad_batches": COUNTS,
    "trainer.log_every_n_steps": ["abc", "1.5", "[1]"],
    "trainer.limit_train_batches": ["abc", "-1", "1.5", "0", "[1]", "nan"],
    "trainer.callbacks": ["abc", "5", "[abc]", "torch.nn.ReLU", "[toyml.models.MLP]", "{a: 1}"],
    "trainer.callbacks+": ["abc", "toyml.callbacks.Nope", "torch.nn.ReLU", "Timer"],
    "trainer.logger": ["abc", "5", "toyml.models.MLP", "false"],
    "trainer.logger.version": ["abc", "[1]", "1.5"],
    "trainer.accelerator": ["abc", "tpu", "[1]"],
    "trainer.nope": ["1"],
    "seed_everything": ["-1", "abc", "[1]", "1.5", "99999999999"],
    "threads": COUNTS,
    "ckpt_path": ["nope.ckpt", "last", "best", "x.yaml"],
    "nope": ["1"],
}
WRONGS = st.sampled_from(sorted(WRONG)).flatmap(
    lambda key: st.tuples(st.just(key), st.sampled_from(WRONG[key]))
)
BARE = "trainer:\n  callbacks: [toyml.callbacks.Recorder]\n  max_steps: 3\n"


def one_line_and_nothing_left(here: Path, words: list[str]) -> None:
    before = {p.name for p in here.iterdir()}
    status, lines = typed(
        ["fit", f"--config={ROOT}/configs/perceptron.yaml", "--config=x.yaml", *words]
    )
    assert status == 2, (status, lines)
    assert len(lines) == 1, lines
    assert lines[0].startswith("toyml: error: ")
    assert 20 < len(lines[0]) < 520
    assert {p.name for p in here.iterdir()} == before


@given(WRONGS)
@tries(25)
def test_a_wrong_setting_is_one_line(here: Path, wrong: tuple[str, str]) -> None:
    Path("x.yaml").write_text(BARE)
    one_line_and_nothing_left(here, [f"--{wrong[0]}={wrong[1]}"])


@pytest.mark.slow
@pytest.mark.parametrize("key", WRONG)
def test_every_wrong_setting_is_one_line(key: str, here: Path) -> None:
    Path("x.yaml").write_text(BARE)
    for value in WRONG[key]:
        one_line_and_nothing_left(here, [f"--{key}={value}"])


@given(st.text(max_size=20) | st.binary(max_size=60))
@tries(8)
def test_a_file_of_anything_is_one_line(here: Path, content: str | bytes) -> None:
    data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    Path("x.yaml").write_bytes(data)
    one_line_and_nothing_left(here, [])


# -- files of a run ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a figure, a claim, a checkpoint, a report, and a figure that no config names."""
    folder = tmp_path_factory.mktemp("runs")
    claim = {"statement": "a", "step": 3, "predicted": 0.5, "tolerance": float("inf")}
    listed = [
        "toyml.callbacks.Recorder",
        "toyml.callbacks.LastCheckpoint",
        "toyml.callbacks.Curves",
        {
            "class_path": "toyml.callbacks.Verdicts",
            "init_args": {"claims": [{"class_path": "toyml.claims.LossAt", "init_args": claim}]},
        },
        {"class_path": "toyml.callbacks.Report", "init_args": {"question": "Why?"}},
    ]
    part = folder / "part.yaml"
    part.write_text(yaml.safe_dump({"trainer": {"max_steps": 12, "callbacks": listed}}))
    words = [f"--config={ROOT}/configs/perceptron.yaml", f"--config={part}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml"])
        run = main(["fit", *words, f"--trainer.logger.root={folder}"])
    assert isinstance(run, Run)
    for path in list(run.folder.glob("figures/curves.*")):
        shutil.copy(path, path.with_name("another" + path.suffix))
    return run.folder


FILES = [
    *("config.yaml", "summary.json", "metrics.csv", "trajectory/layout.json"),
    *("trajectory/rows.bin", "checkpoints/last.ckpt"),
    *(
        f"figures/{name}.{kind}"
        for name in ("curves", "another")
        for kind in ("json", "svg", "png")
    ),
]


@st.composite
def damages(draw: Callable[..., Any]) -> tuple[str, Callable[[bytes], bytes]]:
    """A file and what becomes of its bytes: cut, flipped, lost, doubled, or others altogether."""
    name = draw(st.sampled_from(FILES))
    place, length = draw(st.floats(0, 1)), draw(st.integers(1, 60))
    noise = draw(st.binary(min_size=1, max_size=40))
    kind = draw(st.sampled_from(["cut", "flip", "lose", "double", "insert", "replace"]))

    def damage(data: bytes) -> bytes:
        at = int(place * len(data))
        return {
            "cut": data[:at],
            "flip": data[:at]
            + bytes(b ^ 1 << noise[0] % 8 for b in data[at : at + 1])
            + data[at + 1 :],
            "lose": data[:at] + data[at + length :],
            "double": data[: at + length] + data[at:],
            "insert": data[:at] + noise + data[at:],
            "replace": noise,
        }[kind]

    damage.__qualname__ = f"{kind} at {place}"
    return name, damage


def reported_or_refused(
    whole: Path, folder: Path, damage: tuple[str, Callable[[bytes], bytes]]
) -> None:
    name, change = damage
    sweep(folder)
    run = folder / "perceptron/version_0"
    shutil.copytree(whole, run)
    (run / "report.html").unlink()
    (run / name).write_bytes(change((run / name).read_bytes()))
    before = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    status, lines = typed(["report", str(run)])
    assert status in (0, 2), lines
    event(f"{name}: {status}")
    if status == 0:
        page = (run / "report.html").read_text(encoding="utf-8")
        assert page.rstrip().endswith("</html>")
        # A config with a byte changed in its question is a config that asks something else.
        assert "Why?" in page or name == "config.yaml"
        return
    assert len(lines) == 1, lines
    assert lines[0].startswith("toyml: error: ")
    assert str(run) in lines[0]
    after = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert after == before, "a refused report changed the run"


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels, drawn in less time."""
    options = {kind: {**given, "dpi": 20} for kind, given in style.SAVE_OPTIONS.items()}
    monkeypatch.setattr("toyml.callbacks.figure.SAVE_OPTIONS", options)


@pytest.mark.usefixtures("coarse")
@given(damages())
@tries(6)
def test_a_damaged_run_is_reported_or_refused(
    whole: Path, here: Path, damage: tuple[str, Callable[[bytes], bytes]]
) -> None:
    reported_or_refused(whole, here, damage)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("coarse")
@given(damages())
@tries(300)
def test_many_damaged_runs_are_reported_or_refused(
    whole: Path, here: Path, damage: tuple[str, Callable[[bytes], bytes]]
) -> None:
    reported_or_refused(whole, here, damage)


# -- files that somebody made up -------------------------------------------------------------------

NASTY: list[Any] = [
    *(None, True, False, 0, -1, -0.5, 1e308, -1e308, 5e-324, 0.1, 2**31, 2**53, 2**63 - 1, 2**63),
    *(10**299, 10**400, "", "x", "nan", "-inf", "1e400", "$\\frac{", "<b>&", "\ud800", "a\nb"),
    *("\x1b]0;x\x07", "x" * 5000, [], {}, [[1, 2]], [None], [-1], [4294967296] * 2, ["a", [1]]),
    *({"a": {"b": 1}}, [2**63 - 1, 2], [[["a"]]], {"class_path": "os.system"}, {"": ""}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a value."""
    yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from places(inner, (*path, key))


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A value with another one at a place inside it, or without it (``...``)."""
    if not place:
        return None if new is ... else new
    key, *rest = place
    copy = value.copy()
    if not rest and new is ...:
        del copy[key]
    else:
        copy[key] = changed(copy[key], tuple(rest), new)
    return copy


@st.composite
def nasty_values(draw: Callable[..., Any]) -> Callable[[Any], Any]:
    """What becomes of a nested value: one to three of its parts replaced, or lost."""
    changes = draw(
        st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([*NASTY, ...])),
            min_size=1,
            max_size=3,
        )
    )

    def change(value: Any) -> Any:
        for share, new in changes:
            found = [*places(value)]
            value = changed(value, found[int(share * len(found))], new)
        return value

    return change


# A large integer in each of YAML's ways, nesting, aliases; as a value, a seed, a key, an item.
DIGITS = [
    "0x" + "f" * 5000,
    "0" + "7" * 5000,
    "9" * 5000,
    ":".join(["1"] * 2500),
    "0b" + "1" * 5000,
]
DEEP = ["[" * 400 + "]" * 400, "{a: " * 400 + "1" + "}" * 400, "[" * 60 + "]" * 60]
ODD = [
    *(*DIGITS, *DEEP, ":".join(["59"] * 400) + ".0", "!!set {a, b}", "!!binary YQ==", "2001-01-01"),
    *("!!pairs [a: 1]", "!!python/name:os.system", "&a [*a]", "0x" + "f" * 300, ".nan", "-.inf"),
]
WHERE = [
    *("x: {}\n", "seed_everything: {}\n", "? {}\n: 1\n", "threads: {}\n", "optimizer: {}\n"),
    *("model: {}\n", "data: {}\n", "trainer: {}\n", "trainer: {{max_steps: {}}}\n", "x: [1, {}]\n"),
]
CONFIGS = st.one_of(
    st.tuples(st.sampled_from(WHERE), st.sampled_from(ODD)).map(
        lambda t: lambda text: text + t[0].format(t[1])
    ),
    nasty_values().map(
        lambda change: lambda text: yaml.safe_dump(change(yaml.safe_load(text)), sort_keys=False)
    ),
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{}pt" height="{}pt"><rect/></svg>'
PICTURES = st.one_of(
    st.tuples(*[st.sampled_from(["1e400", "9" * 400, "0", "-1", "1.2.3", "300"])] * 2).map(
        lambda sides: SVG.format(*sides)
    ),
    st.sampled_from(["<svg " * 50_000, "<svg" + ' width="' * 30_000, "<svg" + " " * 249_000]),
)
CELLS = st.sampled_from(
    [*("", "1", "0.5", "-1", "1e400", "nan", "-inf", "x", "9" * 400, "9" * 5000, str(2**53)), '"a']
)
TABLES = st.tuples(
    st.lists(st.sampled_from(["loss", "step", "$\\frac{", "\x1b[1m", "", "a b"]), max_size=4),
    st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=5),
).map(lambda t: "\n".join([",".join(["step", *t[0]]), *t[1]]) + "\n")
SIZES = st.sampled_from([2**20, 2**31, 2**33, 2**42])


def bombs(kind: int) -> bytes:
    """An archive of arrays that ``constants.npz`` never is."""
    memory = io.BytesIO()
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }"
    large = b"\x93NUMPY\x01\x00\x76\x00" + (header % 10**13).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(
        memory, "w", zipfile.ZIP_DEFLATED if kind == 1 else zipfile.ZIP_STORED
    ) as a:
        a.writestr("a.npy", [large, bytes(10**7), large[:20], b""][kind % 4])
    return memory.getvalue()


def archived(array: Any) -> bytes:
    """An archive of one array."""
    memory = io.BytesIO()
    np.savez(memory, a=array)
    return memory.getvalue()


ARRAYS = st.one_of(
    st.integers(0, 3).map(bombs),
    st.sampled_from(
        [
            np.array([{}], object),
            np.array(["a"]),
            np.zeros((3, 0)),
            np.array(1j),
            np.array(7.0),
            np.zeros((2, 3), order="F"),
            np.zeros(2, ">f8"),
            np.array([True]),
        ]
    ).map(archived),
)


@st.composite
def hostile_files(draw: Callable[..., Any]) -> tuple[str, Callable[[Path], object]]:
    """A file of a run, and what writes another one in its place."""
    name = draw(st.sampled_from([*HOSTILE]))
    return name, draw(HOSTILE[name])


def text(change: Callable[[str], str]) -> Callable[[Path], object]:
    """What rewrites a text."""
    return lambda path: path.write_bytes(
        change(path.read_text(encoding="utf-8")).encode(errors="surrogatepass")
    )


def of_json(change: Callable[[Any], Any]) -> Callable[[Path], object]:
    """What rewrites a JSON file."""
    return text(lambda content: json.dumps(change(json.loads(content))))


def other(content: str | bytes) -> Callable[[Path], object]:
    """What puts something else in the place of a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


def sparse(size: int) -> Callable[[Path], object]:
    """What makes a file as large as that, without a byte on the disk."""
    return lambda path: os.truncate(path, size)


@st.composite
def rows(draw: Callable[..., Any]) -> Callable[[Path], object]:
    """What writes steps and numbers of any kind into ``rows.bin``."""
    kinds = [0.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")]
    numbers = draw(st.lists(st.sampled_from(kinds), min_size=3, max_size=39))
    steps = draw(st.lists(st.integers(0, 20) | st.sampled_from([2**53, 2**63 - 1, -1]), max_size=5))

    def write(path: Path) -> None:
        record = np.dtype([("step", "<i8"), ("parameters", "<f8", (3,))])
        held = np.fromfile(path, record)
        flat = held["parameters"].ravel()
        flat[: len(numbers)] = numbers
        held["parameters"] = flat.reshape(-1, 3)
        held["step"][: len(steps)] = sorted(steps)
        held.tofile(path)

    return write


HOSTILE: dict[str, st.SearchStrategy[Callable[[Path], object]]] = {
    "trajectory/layout.json": nasty_values().map(of_json) | SIZES.map(sparse),
    "summary.json": nasty_values().map(of_json) | SIZES.map(sparse),
    "config.yaml": CONFIGS.map(text) | SIZES.map(sparse),
    "metrics.csv": TABLES.map(other) | SIZES.map(sparse),
    "trajectory/rows.bin": rows() | SIZES.map(sparse),
    "trajectory/constants.npz": ARRAYS.map(other),
    **{
        f"figures/{name}.json": nasty_values().map(of_json) | SIZES.map(sparse)
        for name in ("curves", "another")
    },
    "figures/another.svg": PICTURES.map(other) | SIZES.map(sparse),
    "figures/another.png": st.binary(max_size=40).map(other) | SIZES.map(sparse),
}


def read_or_refused(
    whole: Path, here: Path, files: list[tuple[str, Callable[[Path], object]]]
) -> None:
    """``compare``, ``report`` and ``list`` do what they are for, or say in one line why not."""
    sweep(here)
    run = here / "perceptron/version_0"
    shutil.copytree(whole, run)
    (run / "report.html").unlink()
    for name, change in files:
        path = run / name
        if not path.exists() or path.stat().st_size < 2**20:  # one terabyte is enough
            change(path)
    if "figures/another.svg" in dict(files):
        (run / "figures/another.png").unlink()  # it would stand for a large one
    for words in (
        ["compare", str(whole), str(run), str(run), "--out=out"],
        ["report", str(run)],
        ["list", str(run)],
    ):
        status, lines = typed(words)
        assert status in (0, 2), lines
        event(f"{words[0]}: {status}")
        if status == 2:
            assert len(lines) == 1, lines
            assert lines[0].startswith("toyml: error: ")
            assert len(lines[0]) < 600, len(lines[0])


FEW = st.lists(hostile_files(), min_size=1, max_size=2)


@pytest.mark.usefixtures("coarse")
@given(FEW)
@tries(6)
def test_a_hostile_run_is_read_or_refused(
    whole: Path, here: Path, files: list[tuple[str, Callable[[Path], object]]]
) -> None:
    read_or_refused(whole, here, files)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("coarse")
@given(FEW)
@tries(int(os.environ.get("HOSTILE", "25")))  # 500 were tried once: docs/reliability.md
def test_many_hostile_runs_are_read_or_refused(
    whole: Path, here: Path, files: list[tuple[str, Callable[[Path], object]]]
) -> None:
    read_or_refused(whole, here, files)
