"""The colors of the house, for static pictures and for the page in the browser alike.

Line colors are those of Okabe and Ito (2008), which color-blind eyes can tell apart. On a dark
ground the same hues are lighter.
"""

from __future__ import annotations

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, INK = "#CC79A7", "#56B4E9", "#24292F"

LINES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK)
"""Line colors in their order."""

RUNS = (1, 2, 3, 4, 5, 6, 0)
"""Places in ``LINES`` of the runs of a comparison: blue last, because the ground of a landscape is
bluish where paths end."""

REFERENCES = (2, 4, 3)
"""Places of lines of theory: the first two colors are those of two classes, ink is the boundary's,
and orange, the last, is near to the ground of class 1."""

UNITS = (2, 3, 4, 5)
"""Places of hidden units beside two classes and the boundary."""

FORCES = {"gradient": 0, "weight decay": 2, "momentum": 3, "dampening": 4, "look-ahead": 5}
"""Places of the parts of an update; vermillion is the path's, and ink the step's."""

DARK_LINES = ("#5DB1E8", "#F58A4F", "#3CCBA3", "#F2BC45", "#E3A3C6", "#93D0F5", "#E4E6E9")
"""The same on a dark ground."""

PROBABILITY = ("#A3C9E2", "#D3E5F1", "#FCFCFB", "#F8DFC9", "#F0BC92")
"""The class colors, pale, and white where a model is undecided."""

DARK_PROBABILITY = ("#1F5A82", "#213F54", "#24282D", "#573723", "#8A4A1C")

LOSS = ("#2F6690", "#6A9BB8", "#A6C6CF", "#D6E4DD", "#F7F4E6")
"""Light rises with the loss throughout; warm and dark lines stand out on all of it."""

DARK_LOSS = ("#4C92C3", "#3A6F93", "#2D5168", "#253A47", "#1F2A31")
"""The low ground shines and the heights go into the dark, where warm and light lines stand out."""

STEPS = ("#D9D2E3", "#B3A2CB", "#8467AC", "#54307F", "#2A0A4E")
"""One hue from faint to strong: order is read from lightness, so it survives grey printing."""
