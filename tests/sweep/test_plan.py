from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.errors import UserError
from toyml.sweep.keys import override
from toyml.sweep.plan import Plan, Vary, make_plan, parse_seeds

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {
        "class_path": "toyml.tasks.Supervised",
        "init_args": {
            "net": {
                "class_path": "toyml.models.MLP",
                "init_args": {"widths": [2, 5, 1], "activation": {"class_path": "torch.nn.Tanh"}},
            },
            "optimizer": {
                "class_path": "torch.optim.Adam",
                "init_args": {"lr": 0.1, "betas": [0.9, 0.999], "amsgrad": False},
            },
        },
    },
    "data": {"class_path": "toyml.data.Xor", "init_args": {"repeats": 1, "batch_size": None}},
    "trainer": {"max_steps": 10},
}
LR, WIDTHS, START = "model.optimizer.lr", "model.net.widths", "initial.output.bias[0]"


def test_replicas_share_a_cell_and_the_rest_makes_cells() -> None:
    plan = make_plan(CONFIG, 2, {WIDTHS: "[2,1,1],[2,3,1]", LR: "0.1,0.2", START: "0,1"})
    assert (plan.cells, plan.replicas) == (2, 16)
    first, second = plan.parts()
    assert first.changes == {WIDTHS: [2, 1, 1]}
    assert second.changes == {WIDTHS: [2, 3, 1]}
    assert (first.first, second.first) == (0, 8)
    # The last key varies faster than the one before, the seed fastest.
    assert first.columns == {
        "seed": [0, 1] * 4,
        WIDTHS: ["[2, 1, 1]"] * 8,
        LR: [0.1] * 4 + [0.2] * 4,
        START: [0.0, 0.0, 1.0, 1.0] * 2,
    }


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 20))
def test_the_parts_are_the_product_once(seeds: int, rates: int, widths: int, part: int) -> None:
    plan = Plan(
        tuple(range(seeds)),
        (Vary(LR, tuple(0.1 * (i + 1) for i in range(rates))), Vary(WIDTHS, tuple(range(widths)))),
        part,
    )
    parts = list(plan.parts())
    rows = [
        (p.changes[WIDTHS], rate, seed)
        for p in parts
        for rate, seed in zip(p.settings[LR], p.seeds, strict=True)
    ]
    assert len(rows) == len(set(rows)) == plan.replicas == seeds * rates * widths
    assert max(map(len, parts)) <= part
    assert [p.number for p in parts] == list(range(len(parts)))
    assert [p.first for p in parts] == [sum(map(len, parts[:i])) for i in range(len(parts))]


@pytest.mark.parametrize(
    ("key", "by_replica"),
    [
        (LR, True),
        ("model.optimizer.betas.0", True),
        ("model.optimizer.amsgrad", False),
        ("model.optimizer.betas", False),
        (START, True),
        (WIDTHS, False),
        ("model.net.widths.1", False),
        ("data.repeats", False),
        ("trainer.max_steps", False),
    ],
)
def test_which_keys_differ_within_a_program(key: str, by_replica: bool) -> None:
    assert Vary(key, (1,)).by_replica is by_replica


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ({"model.optimizer.lrr": "1"}, "did you mean model.optimizer.lr"),
        ({"optimizer.lr": "1"}, "did you mean model.optimizer.lr"),
        ({"model.net.width": "1"}, "did you mean model.net.widths"),
        ({"nothing.like.it": "1"}, "has no 'nothing.like.it'"),
        ({LR: "fast,slow"}, "is a number"),
        ({"data.repeats": "1,two"}, "is a number"),
        ({LR: ""}, "model.optimizer.lr: '' is an empty range"),
        ({LR: "1,1"}, "model.optimizer.lr: '1,1' holds 1 twice"),
        ({LR: [0.1, 0.2, 0.1]}, "model.optimizer.lr is varied over 0.1 twice"),
        ({LR: [0.1, float("nan")]}, "varied over nan; give finite"),
        ({LR: []}, "empty list"),
        ({"initial.output.bias": "1,2"}, "no entry"),
        ({"initial.output.bias[0]": "a,b"}, "give numbers"),
        ({"seed_everything": "1,2"}, "--seeds"),
    ],
)
def test_what_cannot_be_varied(vary: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_plan(CONFIG, 1, vary)


def test_a_product_too_large_to_be_meant() -> None:
    vary = {LR: "linspace(0.1,1,101)"}
    assert make_plan(CONFIG, 990, vary).replicas == 99_990
    with pytest.raises(UserError, match=r"101,000 trainings.*--yes"):
        make_plan(CONFIG, 1000, vary)
    assert make_plan(CONFIG, 1000, vary, yes=True).replicas == 101_000


@pytest.mark.parametrize(
    ("given_", "seeds"),
    [(3, (0, 1, 2)), ("2", (0, 1)), ("range(5,8)", (5, 6, 7)), ([4, 2], (4, 2)), ("7,9", (7, 9))],
)
def test_seeds(given_: Any, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(given_) == seeds


@pytest.mark.parametrize(
    "wrong", [0, -3, "9000000000", "1.5", "-1,2", "a,b", [], [True], ["x"], [1, 2, 1]]
)
def test_what_is_no_seed(wrong: Any) -> None:
    with pytest.raises(UserError, match="seed"):
        parse_seeds(wrong)


def test_parts_of_large_nets_are_smaller() -> None:
    plan = make_plan(CONFIG, 50_000, {})
    assert plan.fitted(168).part == plan.part == 20_000
    large = plan.fitted(2**20)
    assert (large.part, large.replicas) == (64, 50_000)
    assert sum(map(len, large.parts())) == 50_000
    assert plan.fitted(2**40).part == 1


def test_parts_hold_a_replica() -> None:
    with pytest.raises(UserError, match="part is 0"):
        make_plan(CONFIG, 1, {}, part=0)


@pytest.mark.parametrize(
    ("change", "cells"),
    [
        ({}, 1),
        ({"model.optimizer": "torch.optim.AdamW"}, 1),
        ({"model.optimizer": {"class_path": "toyml.optim.Adam"}}, 1),
        ({"model.optimizer": "torch.optim.RMSprop"}, 2),
        ({"model.optimizer": "mine.SGD"}, 2),
        ({"model.optimizer.amsgrad": True}, 2),
    ],
)
def test_settings_that_replicas_must_share_make_cells(change: dict[str, Any], cells: int) -> None:
    vary = {LR: "0.1,0.2", START: "0,1"}
    plan = make_plan(override(CONFIG, {**change, LR: 0.1}), 3, vary)
    assert (plan.cells, plan.replicas) == (cells, 12)
    # The same where the optimizer is one of the varied keys.
    varied = make_plan(CONFIG, 3, {**vary, **{key: [value] for key, value in change.items()}})
    assert (varied.cells, varied.replicas) == (cells, 12)
