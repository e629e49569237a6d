"""The parser's many lines become one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toyml.messages import NO_GPU, did_you_mean, readable

UNION = """\
Parser key "trainer.max_time":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'str'>, <class 'int'>, <class 'NoneType'>]
  Errors:
    - Expected a <class 'str'>
    - Expected a <class 'int'>
    - Expected a <class 'NoneType'>
  Given value type: <class 'float'>
  Given value: 1.5"""
NESTED = """\
Parser key "model":
  Problem with given class_path 'toyml.tasks.Supervised':
    Type Callable[[Iterable], Optimizer] expects a function or a callable class: \
Option 'lrr' is not accepted
  For more details of accepted ones, see --help
  Given value: NestedArg(key='optimizer.lrr', val='3')"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Parser key \"threads\": Expected a <class 'int'>. Got value: 1.5", "threads is 1.5: "),
        (UNION, "trainer.max_time is 1.5: expected str or int"),
        (NESTED, "model.optimizer.lrr is 3: Option 'lrr' is not accepted"),
        ("No supported gpu backend found!", NO_GPU),
        ("`CUDAAccelerator` can not run on your system", NO_GPU),
        ("The strategy `fsdp` requires a GPU accelerator", "trainer.strategy fsdp divides a net"),
        ('Key "fit.model" is required: fit.model', "there is no model; give an experiment"),
        ("\x1b[31mplain words\x1b[0m", "plain words"),
        ("model.init_args.lr is odd", "model.lr is odd"),
        ("two\n  lines", "two"),
    ],
)
def test_what_is_wrong_is_kept(message: str, line: str) -> None:
    assert readable(message).startswith(line)


def test_a_long_value_is_left_out_and_a_long_reason_shortened() -> None:
    value = f"Parser key \"a\": Expected a <class 'int'>. Got value: {'7' * 80}"
    assert readable(value) == "a: expected int"
    reason = readable("word " * 400)
    assert len(reason) <= 400
    assert " ... " in reason


@given(st.text(max_size=300) | st.lists(st.sampled_from([*UNION.split("\n"), "x"])).map("\n".join))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_is_one_short_line(message: str) -> None:
    line = readable(message)
    assert len(line.splitlines()) <= 1
    assert len(line) <= 500
    assert "<class" not in line or "<class" in message


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trainer.max_stps", "; did you mean trainer.max_steps?"),
        ("thread", "; did you mean threads?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_known_word(word: str, hint: str) -> None:
    assert did_you_mean(word, ["trainer.max_steps", "trainer.max_epochs", "threads"]) == hint
