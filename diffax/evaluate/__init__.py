"""Evaluators by name: `EVALUATORS[name](model=..., seed=..., workdir=...)`."""

from collections.abc import Callable, Mapping
from typing import Any

from diffax.evaluate import crossmodal
from diffax.evaluate import dance
from diffax.evaluate import forecasting
from diffax.evaluate import recognition
from diffax.evaluate import vocoder

EVALUATORS: Mapping[str, Callable[..., Any]] = {
    'forecasting': forecasting.forecasting,
    'crossmodal': crossmodal.crossmodal,
    'recognition': recognition.recognition,
    'dance': dance.dance,
    'vocoder': vocoder.vocoder,
}

PACKAGES: Mapping[str, tuple[str, ...]] = {
    'dance': ('librosa', 'mir_eval'),
}
"""What evaluators import of the extra `audio`."""
