"""Make the README's pictures anew: run each experiment and shrink one of its figures.

python docs/pictures/make.py          # from the project's root; a few minutes
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import yaml
from PIL import Image

from toyml.cli import main

ROOT = Path(__file__).resolve().parents[2]
# Experiment: the figure that says most, and further settings of the run.
FIGURES: dict[str, tuple[str, list[str]]] = {
    "perceptron": ("boundary", ["--trainer.max_steps", "100001"]),
    "perceptron_weight_decay": ("sweep_of_decay", []),
    "l2_one_step": ("step_pytorch", []),
    "l2_logistic": ("two_conventions", []),
    "xor": ("script_loss", []),
    "xor_ladder": ("parity", []),
    "xor_ladder_shared": ("parity", []),
    "rings": ("hidden_lines", []),
    "rings_printed_weights": ("curves", []),
    "rings_seeds": ("sweep_outcomes", []),
    "damped_sine": ("fit", []),
    "damped_sine_flipped": ("fit", []),
    "damped_sine_symmetric": ("fit", []),
    "damped_sine_percentage": ("fit", []),
    "damped_sine_seeds": ("sweep_sides", []),
    "sgd": ("landscape_momentum", []),
    "xor_seeds": ("sweep_outcomes", []),
    "sgd_stability": ("sweep_map", []),
    "basins": ("sweep_basins", []),
}
WIDTH = 560


def make(name: str, figure: str, settings: list[str]) -> None:
    """Run one experiment and keep a small copy of its figure."""
    config = ROOT / f"configs/{name}.yaml"
    command = "sweep" if "sweep" in yaml.safe_load(config.read_text()) else "fit"
    main([command, "--config", str(config), *settings])
    source = max(Path(f"runs/{name}").iterdir()) / f"figures/{figure}.png"
    with Image.open(source) as picture:
        height = round(picture.height * WIDTH / picture.width)
        small = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
        # Median cut would give the few pixels of a class the color of a line.
        colors = small.quantize(255, Image.Quantize.MAXCOVERAGE, 2, dither=Image.Dither.NONE)
        colors.save(ROOT / f"docs/pictures/{name}.png", optimize=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(FIGURES)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for experiment in wanted:
            make(experiment, *FIGURES[experiment])
