from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toyml.report.packing import HOLE, levels, pack, unpack

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6)))
def test_levels_are_off_by_half_a_unit_at_most(values: np.ndarray) -> None:
    found = levels(values)
    assert found.shape == values.shape
    assert np.abs(found.values() - values).max() <= found.unit / 2 * (1 + 1e-6)
    assert found.unit <= max(np.ptp(values) / (HOLE - 1), 0) + (np.ptp(values) == 0)


def test_what_is_not_finite_becomes_a_hole() -> None:
    found = levels([[0.0, np.inf], [np.nan, 2.0]])
    assert (found.codes == HOLE).tolist() == [[False, True], [True, False]]
    assert np.isnan(found.values()[0, 1])
    assert levels([np.nan]).codes.tolist() == [HOLE]
    assert levels([-1.7e308, 1.7e308]).codes.tolist() == [HOLE, HOLE]


@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=4)),
    hnp.arrays(np.int64, hnp.array_shapes(), elements=st.integers(-(2**40), 2**40)),
    TEXT,
)
def test_a_document_comes_back(floats: np.ndarray, ints: np.ndarray, text: str) -> None:
    document = {text: [floats, {"a": ints, "b": None}], "words": [text, 1, 2.5, True]}
    back = unpack(pack(document))
    assert list(back) == list(document)
    np.testing.assert_array_equal(back[text][0], floats)
    np.testing.assert_array_equal(back[text][1]["a"], ints)
    assert back["words"] == [text, 1, 2.5, True]
    assert back[text][1]["b"] is None


def test_levels_come_back_as_their_values() -> None:
    found = levels(np.linspace(-3, 5, 24).reshape(2, 3, 4))
    np.testing.assert_allclose(unpack(pack({"z": found}))["z"], found.values(), rtol=0, atol=1e-12)


@given(
    TEXT | st.sampled_from(["</script><script>alert(1)</script>", "<!--", "]]>", "\u2028\u2029"])
)
def test_nothing_can_leave_the_element_it_stands_in(text: str) -> None:
    assert set(pack({text: text})) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    )


def test_a_number_that_is_not_finite_is_null_and_an_object_is_refused() -> None:
    assert unpack(pack([float("nan"), float("inf")])) == [None, None]
    with pytest.raises(TypeError, match="set cannot be packed"):
        pack({"a": {1}})
    with pytest.raises(TypeError, match="an array of <U1 cannot be packed"):
        pack(np.array(["a"]))


def test_the_same_document_gives_the_same_text() -> None:
    assert pack({"a": np.arange(5)}) == pack({"a": np.arange(5)})


def test_an_array_at_several_places_is_written_once() -> None:
    values = np.random.default_rng(0).random(10_000)
    packed = levels(values)
    once, thrice = pack([packed]), pack([packed, {"a": packed}, packed])
    assert len(thrice) < 1.01 * len(once)
    back = unpack(thrice)
    for found in (back[0], back[1]["a"], back[2]):
        np.testing.assert_array_equal(found, unpack(once)[0])
