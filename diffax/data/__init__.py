"""Data sets by name: `SOURCES[name](seed=..., batch_size=..., **config.data)`.

Human3.6M, FreeMan and 3DPW find their place in this table.
"""

from collections.abc import Callable, Mapping
import functools

from diffax.data.base import Source
from diffax.data.motion import motion

SOURCES: Mapping[str, Callable[..., Source]] = {
    'cmu': functools.partial(motion, 'cmu'),
    'amass': functools.partial(motion, 'amass'),
    'synthetic': functools.partial(motion, 'synthetic'),
    'bvh': functools.partial(motion, 'bvh'),
}
