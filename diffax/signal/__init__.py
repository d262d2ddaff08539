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
from diffax.signal.mel import check_mel
from diffax.signal.mel import compress
from diffax.signal.mel import expand
from diffax.signal.mel import log_mel
from diffax.signal.mel import MAA
from diffax.signal.mel import magnitudes
from diffax.signal.mel import Mel
from diffax.signal.mel import mel_filters
from diffax.signal.mel import MELS
from diffax.signal.mel import preset
from diffax.signal.phase import find_phase
from diffax.signal.phase import griffin_lim
from diffax.signal.phase import linear_magnitudes

__all__ = [
    'analyse', 'check_mel', 'compress', 'expand', 'find_phase', 'frame',
    'frame_count', 'griffin_lim', 'hann', 'istft', 'Layout', 'LAYOUTS',
    'linear_magnitudes', 'log_mel', 'MAA', 'magnitudes', 'Mel', 'mel_filters',
    'MELS', 'overlap_add', 'preset', 'SCALINGS', 'Spectrogram', 'stft',
    'synthesise', 'Waveform', 'WINDOWS',
]
