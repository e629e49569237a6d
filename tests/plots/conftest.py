import pytest
from matplotlib.axes import Axes

from toyml.plots import new_figure


@pytest.fixture
def ax() -> Axes:
    return new_figure().add_subplot()
