"""Data sets by name: `SOURCES[name](seed, batch_size, **config.data)`."""

from collections.abc import Callable, Mapping
import functools

from diffax.data import aist
from diffax.data import basicmotions
from diffax.data import bhs
from diffax.data import dance_aligned
from diffax.data import dance_synthetic
from diffax.data import dsads
from diffax.data import dynamics
from diffax.data import embry
from diffax.data import freeman
from diffax.data import gait_signals
from diffax.data import h36m
from diffax.data import imu_csv
from diffax.data import imu_signals
from diffax.data import loris
from diffax.data import motion
from diffax.data import motionsense
from diffax.data import rbds
from diffax.data import realdisp
from diffax.data.base import Source

SOURCES: Mapping[str, Callable[..., Source]] = {
    'cmu': functools.partial(motion.motion, 'cmu'),
    'amass': functools.partial(motion.motion, 'amass'),
    'bandai': functools.partial(motion.motion, 'bandai'),
    '3dpw': functools.partial(motion.motion, '3dpw'),
    'h36m': functools.partial(motion.motion, 'h36m', **h36m.SETTINGS),
    'freeman': functools.partial(motion.motion, 'freeman', **freeman.SETTINGS),
    'synthetic': functools.partial(motion.motion, 'synthetic'),
    'bvh': functools.partial(motion.motion, 'bvh'),
    'lorenz': dynamics.lorenz,
    'pendulum': dynamics.pendulum,
    'embry': embry.embry,
    'rbds': rbds.rbds,
    'gait_synthetic': gait_signals.gait_synthetic,
    'realdisp': realdisp.realdisp,
    'motionsense': motionsense.motionsense,
    'dsads': dsads.dsads,
    'basicmotions': basicmotions.basicmotions,
    'imu_csv': imu_csv.imu_csv,
    'imu_synthetic': imu_signals.imu_synthetic,
    'dance_synthetic': dance_synthetic.dance_synthetic,
    'dance_aligned': dance_aligned.dance_aligned,
    'aist': aist.aist,
    'loris': loris.loris,
    'bhs': bhs.bhs,
}
