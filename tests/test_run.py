"""A run folder, whole or damaged: a correct answer or one clear line, and no code is run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main
from toyml.errors import UserError
from toyml.run import lookup
from toyml.trajectory import record_type

FILES = [
    "config.yaml",
    "summary.json",
    "metrics.csv",
    "trajectory/layout.json",
    "trajectory/rows.bin",
]
LOOK: dict[str, Callable[[Run], Any]] = {
    "config": lambda run: run.config,
    "setting": lambda run: run.setting("model.optimizer.lr"),
    "summary": lambda run: run.summary,
    "finished": lambda run: run.finished,
    "status": lambda run: run.status,
    "repr": repr,
    "metrics": lambda run: run.metrics,
    "steps": lambda run: run.trajectory.steps.tolist(),
    "parameters": lambda run: run.trajectory.parameters["linear.weight"].tolist(),
    "last": lambda run: {k: v.tolist() for k, v in run.trajectory.select([-1]).items()},
}
# An empty trajectory has no last snapshot.
NOT_LAST = {name: ask for name, ask in LOOK.items() if name != "last"}
BUILD: dict[str, Callable[[Run], Any]] = {
    "net": lambda run: run.net(torch.ones(1, 2, dtype=torch.float64)).tolist(),
    "data": lambda run: [a.tolist() for a in run.data],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the perceptron without its figures."""
    from toyml.cli import main

    folder = tmp_path_factory.mktemp("runs")
    part = folder / "bare.yaml"
    part.write_text("trainer:\n  callbacks: [toyml.callbacks.Recorder]\n  max_steps: 12\n")
    words = [f"--config={ROOT}/configs/perceptron.yaml", f"--config={part}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml"])
        run = main(["fit", *words, f"--trainer.logger.root={folder}"])
    assert isinstance(run, Run)
    return run.folder


@pytest.fixture(scope="module")
def scratch(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it that may be damaged."""
    folder = tmp_path_factory.mktemp("damaged") / "perceptron/version_0"
    shutil.copytree(whole, folder)
    return folder


def answers(folder: Path, questions: dict[str, Callable[[Run], Any]]) -> dict[str, Any]:
    """What a fresh Run says to each question: a value, or the UserError."""
    found: dict[str, Any] = {}
    lines: dict[str, str] = {}
    for name, ask in questions.items():
        try:
            found[name] = ask(Run(folder))
        except UserError as error:
            lines[name] = str(error)
            found[name] = UserError
    assert all("\n" not in line and len(line) > 10 for line in lines.values()), lines
    return found


def damaged(whole: Path, scratch: Path, name: str, content: bytes | None) -> Path:
    """The copy with one file replaced, or removed; the others as they were."""
    for other in FILES:
        right = content if other == name else (whole / other).read_bytes()
        path = scratch / other
        if right is None:
            path.unlink()
        elif not path.exists() or path.read_bytes() != right:
            path.write_bytes(right)
    return scratch


def test_a_whole_run_answers_everything(whole: Path) -> None:
    found = answers(whole, LOOK | BUILD)
    assert UserError not in found.values()
    assert found["setting"] == 1.0
    assert found["steps"] == list(range(13))
    assert found["status"] == "finished"
    assert found["metrics"]["loss"]["step"] == [0, 12]
    w = np.array(found["last"]["linear.weight"][0])
    b = np.array(found["last"]["linear.bias"][0])
    sigmoid = 1 / (1 + np.exp(-(w.sum(axis=1) + b)))
    assert np.allclose(found["net"][0], sigmoid, rtol=1e-14)
    assert found["data"] == [[[3.0, 2.0], [1.0, 1.0]], [[1.0], [0.0]]]


def test_a_removed_config_summary_or_table_is_an_empty_one(whole: Path, scratch: Path) -> None:
    empty = {"config.yaml": "config", "summary.json": "summary", "metrics.csv": "metrics"}
    for name, answer in empty.items():
        found = answers(damaged(whole, scratch, name, None), LOOK)
        assert found[answer] == {}
        assert found["steps"] == list(range(13))
    assert answers(damaged(whole, scratch, "config.yaml", None), BUILD) == {
        "net": UserError,
        "data": UserError,
    }


def test_without_a_layout_there_is_no_trajectory(whole: Path, scratch: Path) -> None:
    found = answers(damaged(whole, scratch, "trajectory/layout.json", None), LOOK)
    assert found["steps"] == found["parameters"] == found["last"] == UserError
    assert found["setting"] == 1.0


def test_before_the_first_row_the_trajectory_is_empty(whole: Path, scratch: Path) -> None:
    run = Run(damaged(whole, scratch, "trajectory/rows.bin", None))
    assert run.trajectory.steps.tolist() == []
    assert run.trajectory.parameters["linear.weight"].shape == (0, 1, 2)


def test_a_net_without_a_snapshot_is_one_clear_line(whole: Path, scratch: Path) -> None:
    folder = damaged(whole, scratch, "trajectory/rows.bin", b"")
    assert answers(folder, BUILD)["net"] == UserError


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere(name: str, whole: Path, scratch: Path) -> None:
    content = (whole / name).read_bytes()
    right = answers(whole, LOOK)
    questions = NOT_LAST if "rows" in name else LOOK
    for cut in {*range(0, len(content), max(1, len(content) // 15)), len(content) - 1}:
        found = answers(damaged(whole, scratch, name, content[:cut]), questions)
        if name == "trajectory/rows.bin":
            kept = cut // (8 + 3 * 8)
            assert found["steps"] == right["steps"][:kept]
            assert found["parameters"] == right["parameters"][:kept]
        if name == "trajectory/layout.json":
            assert found["steps"] in (UserError, right["steps"])
        if name == "summary.json" and cut < len(content) - 1:
            assert found["summary"] in (UserError, {})


BYTES = st.binary(max_size=200) | st.text(max_size=80).map(str.encode)
YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
HARD = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", FILES)
@given(BYTES)
@HARD
def test_a_file_of_random_bytes(name: str, whole: Path, scratch: Path, content: bytes) -> None:
    questions = NOT_LAST if "rows" in name else LOOK
    answers(damaged(whole, scratch, name, content), questions)


@pytest.mark.parametrize("name", FILES[:2] + FILES[3:4])
@given(YAML)
@HARD
def test_a_file_of_other_values(name: str, whole: Path, scratch: Path, value: Any) -> None:
    content = json.dumps(value).encode()
    answers(damaged(whole, scratch, name, content), LOOK)


@given(st.binary(min_size=32, max_size=32 * 13), st.integers(0, 12))
@HARD
def test_rows_written_over(whole: Path, scratch: Path, noise: bytes, at: int) -> None:
    content = (whole / "trajectory/rows.bin").read_bytes()
    content = content[: 32 * at] + noise + content[32 * at + len(noise) :]
    found = answers(damaged(whole, scratch, "trajectory/rows.bin", content), NOT_LAST)
    if found["steps"] is not UserError:
        assert (np.diff(found["steps"]) > 0).all()


LAYOUT = {
    "format": 1,
    "dtype": "<f8",
    "parameters": [["linear.weight", [1, 2]], ["linear.bias", [1]]],
    "extras": [],
}
WRONG_LAYOUTS: list[Any] = [
    {"dtype": "O"},
    {"dtype": "<U4"},
    {"dtype": "<i4"},
    {"dtype": "<c16"},
    {"dtype": "no such"},
    {"dtype": 3},
    {"parameters": [["linear.weight", [-1, 2]]]},
    {"parameters": [["linear.weight", [1.5]]]},
    {"parameters": [["linear.weight", "12"]]},
    {"parameters": [["linear.weight", [10**12, 10**12]]]},
    {"parameters": {"linear.weight": [1, 2]}},
    pytest.param(
        {"parameters": [["linear.weight", [1, 2]], ["linear.weight", [1]]]},
    ),
    *(
        {"parameters": [["linear.weight", weight], ["linear.bias", bias]]}
        for weight, bias in (
            (2, [1]),
            ([[1, 2]], [1]),
            ([-1], [4]),
            ([True, 2], [1]),
            ([2**32, 2**32], [3]),
            ([2**63 - 1, 2], [5]),
            ([0, 2**62, 2**62], [1]),
            ([10**4000], [1]),
            ([1] * 70, [1]),
            (None, [1]),
        )
    ),
    {"parameters": [["linear.weight", [3]], 5]},
    {"parameters": [[["linear.weight"], [3]]]},
    {"parameters": None},
    {"extras": ["gradients", "gradients"]},
    {"extras": ["gradients"] * 10**4},
    {"buffers": [["a", [3]]]},
    {"buffers": [["a", 3, "<f4"]]},
    {"buffers": [["a", [2**31], "<f4"]]},
    {"buffers": [["linear.bias", [1], "<f4"]]},
    *({"buffers": [["a", [1], dtype]]} for dtype in ("O", "<U4", "<f16", "<c8", "V8", 3, [], None)),
    {"buffers": 5},
    {"extras": ["step"]},
    {"extras": ["parameters"]},
    {"extras": [3]},
    {"extras": None},
    {"format": "1"},
    {"format": True},
]


@pytest.mark.parametrize("change", WRONG_LAYOUTS, ids=str)
def test_a_layout_that_was_never_written(
    change: dict[str, Any], whole: Path, scratch: Path
) -> None:
    content = json.dumps({**LAYOUT, **change}).encode()
    folder = damaged(whole, scratch, "trajectory/layout.json", content)
    # Opened only: values of dtype object would be pointers taken from the file.
    with pytest.raises(UserError):
        Run(folder).trajectory  # noqa: B018


# Each line merges the one before it nine times: 9^12 entries.
MERGES = "m0: &m0 {a: 1, b: 2}\n" + "".join(
    f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 13)
)


def test_merges_without_end_are_refused(whole: Path, scratch: Path) -> None:
    folder = damaged(whole, scratch, "config.yaml", MERGES.encode())
    with pytest.raises(UserError, match=r"config.yaml is not .*merges unfold to too many values"):
        Run(folder).config  # noqa: B018
    few = MERGES[: MERGES.index("m3:")].encode()
    assert Run(damaged(whole, scratch, "config.yaml", few)).config["m2"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        "? [a]\n: 1",
        "a: &a [*a]",
        "<<: 1",
        "- 1",
        "5",
        "\ufeff",
        *("a: 2001-99-99", "a: !!float x", "a: !!int ''", "a: !!timestamp x"),
        "[" * 2000,
        MERGES,
        # sums of sixtieths that no float holds
        "a: " + ":".join(["59"] * 400) + ".0",
    ],
    ids=lambda text: text[:20],
)
def test_a_config_that_yaml_stumbles_over(text: str, whole: Path, scratch: Path) -> None:
    answers(damaged(whole, scratch, "config.yaml", text.encode()), LOOK)


LARGE = {
    "decimal": "9" * 5000,
    "hexadecimal": "0x" + "f" * 5000,
    "of a length that can be printed": "0x" + "f" * 300,
    "octal": "0" + "7" * 5000,
    "binary": "0b" + "1" * 20_000,
    "sexagesimal": ":".join(["1"] * 2500),
}
DEEP = {
    "lists": "[" * 400 + "]" * 400,
    "mappings": "{a: " * 400 + "1" + "}" * 400,
    "by reference": "\n".join(
        ["{a0: &a0 1", *(f"a{i}: &a{i} {'[' * 40}*a{i - 1}{']' * 40}" for i in range(1, 5))]
    ).replace("\n", ",\n")
    + "}",
}


@pytest.mark.parametrize("place", ["seed_everything: {}", "x: {}", "x: [1, {}]", "? {}\n: 1"])
@pytest.mark.parametrize("kind", [*LARGE, *DEEP])
def test_a_config_of_large_integers_or_depths_is_one_line(
    kind: str, place: str, whole: Path, scratch: Path
) -> None:
    text = place.format((LARGE | DEEP)[kind])
    folder = damaged(whole, scratch, "config.yaml", text.encode())
    words = (
        "is too large|more than 50|Exceeds the limit" if kind in LARGE else "more than 50|unhash"
    )
    with pytest.raises(UserError, match=words) as caught:
        Run(folder).config  # noqa: B018
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", ["!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!binary YQ=="])
def test_a_config_holds_only_what_settings_are_made_of(
    value: str, whole: Path, scratch: Path
) -> None:
    with pytest.raises(UserError, match="could not determine a constructor"):
        Run(damaged(whole, scratch, "config.yaml", f"x: {value}".encode())).config  # noqa: B018


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_terabytes_that_are_not_there(name: str, whole: Path, scratch: Path) -> None:
    folder = damaged(whole, scratch, name, (whole / name).read_bytes())
    os.truncate(folder / name, 2**42)
    try:
        found = answers(folder, LOOK)
    finally:
        (folder / name).unlink()
    key = {"config.yaml": "config", "summary.json": "summary", "metrics.csv": "metrics"}
    assert found[key.get(name, "steps")] is UserError


@pytest.mark.parametrize(
    "change",
    [
        {"tolerance": -1},
        {"tolerance": -5e-324},
        {"tolerance": True},
        {"predicted": 10**400},
        {"verdict": "perhaps"},
    ],
    ids=str,
)
def test_a_verdict_that_was_never_given(change: dict[str, Any], whole: Path, scratch: Path) -> None:
    verdict = {"statement": "a", "predicted": 1, "measured": 1, "tolerance": 0.5}
    verdict |= {"verdict": "holds", "why": "", "source": "", "theory": False}
    right = json.dumps({"claims": [verdict]}).encode()
    assert Run(damaged(whole, scratch, "summary.json", right)).summary["claims"] == [verdict]
    wrong = json.dumps({"claims": [verdict | change]}).encode()
    with pytest.raises(UserError, match="'claims' is not what toyml writes"):
        Run(damaged(whole, scratch, "summary.json", wrong)).summary  # noqa: B018


@pytest.mark.parametrize("key", ["steps", "seconds", "seconds_per_step", "replicas", "asked"])
@pytest.mark.parametrize("value", ["-1", "true", '"x"', "1e400", "1" * 400])
def test_a_count_that_is_none(key: str, value: str, whole: Path, scratch: Path) -> None:
    folder = damaged(whole, scratch, "summary.json", f'{{"{key}": {value}}}'.encode())
    with pytest.raises(UserError, match=r"summary.json is (damaged|not readable)"):
        Run(folder).summary  # noqa: B018


@pytest.mark.parametrize("text", ['{"status": [1]}', "NaN", '"x"'])
def test_a_summary_that_json_stumbles_over(text: str, whole: Path, scratch: Path) -> None:
    answers(damaged(whole, scratch, "summary.json", text.encode()), LOOK)


def test_a_summary_nested_too_deeply(whole: Path, scratch: Path) -> None:
    answers(damaged(whole, scratch, "summary.json", b"[" * 100_000), LOOK)
    # The reader of JSON gets through it; whoever changes the summary would not.
    folder = damaged(whole, scratch, "summary.json", b'{"a": %b1%b}' % (b"[" * 900, b"]" * 900))
    with pytest.raises(UserError, match="nested more than 50 times"):
        Run(folder).summary  # noqa: B018


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused_and_not_written_back(
    value: str, whole: Path, scratch: Path
) -> None:
    text = '{"status": "finished", "steps": 12, "seconds": %s}' % value  # noqa: UP031
    folder = damaged(whole, scratch, "summary.json", text.encode())
    with pytest.raises(UserError, match=r"summary.json is (damaged|not readable)"):
        Run(folder).update_summary(another=1)
    assert (folder / "summary.json").read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "step,loss\n1,a\n",
        "step,loss\nx,1\n",
        "loss\n1\n",
        "step,loss\n1,2,3,4\n",
        'step,"lo\nss"\n1,2\n',
        "step,loss\n1.5,2\n",
        "step,loss\n1,2\x00\n",
        f"step,loss\n1,{'9' * 200_000}\n",
        f"step,loss\n{'9' * 5000},1\n",
        f"step,loss\n{2**63},1\n",
        "step,loss\n-2,1\n",
    ],
    ids=lambda t: t[:20],
)
def test_a_table_that_is_none(text: str, whole: Path, scratch: Path) -> None:
    answers(damaged(whole, scratch, "metrics.csv", text.encode()), LOOK)


def changed(whole: Path, key: str, value: Any) -> bytes:
    config = yaml.safe_load((whole / "config.yaml").read_text())
    *path, last = key.split(".")
    place = config
    for part in path:
        place = place[part]
    place[last] = value
    return yaml.safe_dump(config).encode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", None),
        ("model", 5),
        ("model.class_path", "no.such.Module"),
        ("model.class_path", "toyml.callbacks.Recorder"),
        ("model.init_args.optimizer.init_args.lr", "fast"),
        ("model.init_args.optimizer.init_args.lr", -1.0),
        ("model.init_args.surprise", 1),
        ("data", None),
    ],
)
def test_a_config_whose_classes_cannot_be_built(
    key: str, value: Any, whole: Path, scratch: Path
) -> None:
    folder = damaged(whole, scratch, "config.yaml", changed(whole, key, value))
    assert answers(folder, BUILD)["net"] == UserError
    assert answers(folder, LOOK)["steps"] == list(range(13))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.init_args.net.init_args.inputs", 3),
        (
            "model.init_args.net",
            {"class_path": "toyml.models.MLP", "init_args": {"widths": [2, 2, 1]}},
        ),
    ],
)
def test_a_net_that_is_not_the_recorded_one(
    key: str, value: Any, whole: Path, scratch: Path
) -> None:
    folder = damaged(whole, scratch, "config.yaml", changed(whole, key, value))
    assert answers(folder, BUILD)["net"] == UserError


def test_reading_runs_no_code(whole: Path, scratch: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    attacks = {
        "config.yaml": f"a: !!python/object/apply:pathlib.Path.touch [{str(mark)!r}]\n",
        "summary.json": '{"status": "__import__(\'os\')"}',
        "metrics.csv": "step,loss\n1,__import__('os')\n",
    }
    for name, text in attacks.items():
        answers(damaged(whole, scratch, name, text.encode()), LOOK)
    (tmp_path / "hostile.py").write_text(f"open({str(mark)!r}, 'w')\nclass Task: ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        content = changed(whole, "model", {"class_path": "hostile.Task"})
        found = answers(damaged(whole, scratch, "config.yaml", content), LOOK)
        assert found["steps"] == list(range(13))
        assert found["config"]["model"]["class_path"] == "hostile.Task"
    assert not mark.exists()


@pytest.mark.parametrize("trajectory", [None, b"", b"a file"])
def test_what_is_no_run_is_one_clear_line(trajectory: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; give a run folder such as"):
        Run.load(tmp_path / "nothing")
    if trajectory is not None:
        (tmp_path / "trajectory").write_bytes(trajectory)
    with pytest.raises(UserError, match="is not a run: it holds no trajectory"):
        Run.load(tmp_path)


CONFIG = {"model": {"class_path": "A", "init_args": {"lr": 0.1, "net": {"init_args": {"d": [7]}}}}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.lr", 0.1),
        ("model.init_args.lr", 0.1),
        ("model.class_path", "A"),
        ("model.net.d.0", 7),
        ("model.net.d.1", "default"),
        ("model.net.d.-1", "default"),
        ("model.lr.more", "default"),
        ("nothing", "default"),
        ("", "default"),
    ],
)
def test_settings_by_dotted_key(key: str, value: Any) -> None:
    assert lookup(CONFIG, key, "default") == value


@given(YAML, st.text("ab.01", max_size=9))
@example(None, "a")
@settings(deadline=None, max_examples=60)
def test_any_key_of_any_config_has_an_answer(config: Any, key: str) -> None:
    lookup(config, key, None)


def test_verdicts_of_older_versions_are_no_theory(whole: Path, scratch: Path) -> None:
    verdict = {"statement": "a", "predicted": 1, "measured": 1, "tolerance": 0, "verdict": "holds"}
    verdict |= {"why": "", "source": ""}
    folder = damaged(whole, scratch, "summary.json", json.dumps({"claims": [verdict]}).encode())
    assert Run(folder).summary["claims"] == [{**verdict, "theory": False}]


def test_the_summary_is_changed_key_by_key(whole: Path, scratch: Path) -> None:
    folder = damaged(whole, scratch, "summary.json", b'{"kept": 1, "status": "running"}')
    run = Run(folder)
    assert run.status == "unfinished at step 12"
    run.update_summary(status="diverged", found=float("nan"))
    assert run.status == "diverged at step 12"
    assert run.summary["kept"] == 1
    text = (folder / "summary.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert not list(folder.glob("*.part"))


NORMED = """
from torch import nn

class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
"""
MOONS = """
model:
  class_path: toyml.tasks.Supervised
  init_args:
    net: normed.Normed
    loss: torch.nn.BCEWithLogitsLoss
    metrics: {accuracy: torchmetrics.classification.BinaryAccuracy}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}
data: {class_path: toyml.data.Moons, init_args: {n: 200, noise: 0.1}}
trainer:
  max_steps: 300
  enable_progress_bar: false
  callbacks+: [toyml.callbacks.Recorder]
"""


@pytest.fixture
def normed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of a net with batch norm on two moons."""
    (tmp_path / "normed.py").write_text(NORMED)
    (tmp_path / "config.yaml").write_text(MOONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", "config.yaml"])
    return tmp_path / "runs/config/version_0"


def test_a_net_with_batch_norm_comes_back_trained_at_every_step(normed: Path) -> None:
    run = Run.load(normed, trust=True)
    assert run.losses([0, 300]) == pytest.approx([0.6993, 0.0616], abs=5e-5)
    assert run.metrics["loss"]["value"][0] == pytest.approx(0.6993, abs=5e-5)
    x, y = run.data
    with torch.no_grad():
        output = run.net.eval()(x)
    assert run.loss(output, y).item() == pytest.approx(0.0616, abs=5e-5)
    assert run.meaning.right(output, y).item() == 0.985
    assert run.metrics["accuracy"]["value"][-1] == pytest.approx(0.985)


def test_a_run_recorded_without_running_statistics_says_so(normed: Path) -> None:
    """Folders of versions that kept parameters alone open, and show no net that never was."""
    folder = normed / "trajectory"
    layout = json.loads((folder / "layout.json").read_text())
    rows = np.fromfile(folder / "rows.bin", record_type(layout))
    layout.pop("buffers")
    older = np.zeros(len(rows), record_type(layout))
    older["step"], older["parameters"] = rows["step"], rows["parameters"]
    older.tofile(folder / "rows.bin")
    (folder / "layout.json").write_text(json.dumps(layout))
    run = Run.load(normed, trust=True)
    assert run.trajectory.select()["0.weight"].shape == (301, 8, 2)
    with pytest.raises(UserError, match=r"recorded without 1\.running_mean, 1\.running_var"):
        run.losses([0])
