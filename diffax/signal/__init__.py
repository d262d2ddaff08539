"""Transforms of signals that compile: spectra, mels, and the ways back."""

from diffax.signal.fourier import analyse
from diffax.signal.fourier import frame
from diffax.signal.fourier import frame_count
from diffax.signal.fourier import hann
from diffax.signal.fourier import istft
from diffax.signal.fourier import overlap_add
from diffax.signal.fourier import SCALINGS
from diffax.signal.fourier import stft
from diffax.signal.fourier import synthesise
from diffax.signal.fourier import WINDOWS
from diffax.signal.layouts import Layout
from diffax.signal.layouts import LAYOUTS
from diffax.signal.layouts import Spectrogram
from diffax.signal.layouts import Waveform

__all__ = [
    'analyse', 'frame', 'frame_count', 'hann', 'istft', 'Layout', 'LAYOUTS',
    'overlap_add', 'SCALINGS', 'Spectrogram', 'stft', 'synthesise', 'Waveform',
    'WINDOWS',
]
