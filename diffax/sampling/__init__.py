"""What `--mode=sample` writes, by the name of the config's evaluator."""

from collections.abc import Callable, Mapping
from typing import Any

from diffax.sampling import crossmodal
from diffax.sampling import dance
from diffax.sampling import forecasting
from diffax.sampling import recognition
from diffax.sampling import vocoder

DRAWERS: Mapping[str, Callable[..., Any]] = {
    'forecasting': forecasting.draw,
    'crossmodal': crossmodal.draw,
    'recognition': recognition.draw,
    'dance': dance.draw,
    'vocoder': vocoder.vocoder,
}
