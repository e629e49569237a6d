from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sweep.test_plan import CONFIG, LR, WIDTHS
from toyml.errors import UserError
from toyml.sweep.keys import find, override, word


def test_override_leaves_the_original_alone() -> None:
    changed = override(CONFIG, {WIDTHS: [2, 3, 1], "data.repeats": 4, "model.net.widths.1": 7})
    assert find(changed, WIDTHS) == [2, 7, 1]
    assert find(changed, "data.repeats") == 4
    assert find(CONFIG, WIDTHS) == [2, 5, 1]
    for key in ("model.net.width", "data.repeats.first", "model.net.widths.9"):
        with pytest.raises(UserError, match=key):
            override(CONFIG, {key: 1})


def test_a_setting_of_a_class_that_changes_too() -> None:
    changed = override(CONFIG, {LR: 0.5, "model.optimizer": "torch.optim.RMSprop"})
    kind = {"class_path": "torch.optim.RMSprop", "init_args": {"lr": 0.5}}
    assert find(changed, "model.optimizer") == kind
    with pytest.raises(UserError, match="eps"):
        override(CONFIG, {"model.optimizer.eps": 0.5, "model.optimizer": "torch.optim.RMSprop"})


@given(st.none() | st.booleans() | st.lists(st.integers()) | st.text())
def test_words_tell_values_apart(value: Any) -> None:
    assert isinstance(word(value), str)
    assert word(value) == value if isinstance(value, str) else word(value) != value
