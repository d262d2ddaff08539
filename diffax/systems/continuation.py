"""Futures longer than those a system draws, by drawing again.

A system draws F frames from P. Longer futures are made window by window: the
last P frames of what is drawn are the past of the next window.

  own      each of the K futures goes on by itself
  oracle   after every window all go on from the one of K that came closest to
           what really happened; that one chain is the result. It needs the
           truth, and tells how far a model could get, not how it forecasts.

The published numbers of long futures are the oracle's.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Sec. F.4, Table 11, and its released code.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key

# (key, past [N, P, J, 3], K) -> futures [N, K, F, J, 3], of one unit.
Draw = Callable[[Key, Array, int], Array]
MODES = ('own', 'oracle')


def check(mode: str) -> None:
  """Raise a UserError unless `mode` is one of `MODES`."""
  if mode not in MODES:
    raise UserError(
        f'continuation: expected one of {MODES}, found {mode!r}.'
    )


def continued(
    mode: str,
    draw: Draw,
    key: Key,
    batch: Batch,
    samples: int,
    window: int,
    length: int,
) -> Array:
  """Draw longer futures.

  Args:
    mode: of `MODES`.
    draw: one window.
    key: of all draws.
    batch: `past` `[B, P, J, 3]` and, for the oracle, `future` of `length` or
      more frames.
    samples: K.
    window: frames that `draw` gives, F.
    length: frames wanted, L.

  Returns:
    `[B, K, L, J, 3]`; K times the same from the oracle.

  Raises:
    UserError: there is no such mode, or no truth for the oracle.
  """
  check(mode)
  if mode == 'own':
    return own(draw, key, batch['past'], samples, window, length)
  known = batch['future'].shape[1] if 'future' in batch else 0
  if known < length:
    raise UserError(
        f"continuation 'oracle': expected a truth of {length} frames in the "
        f"batch, found {known}. Segments of data have one, other pasts do not: "
        "set config.system.continuation = 'own'."
    )
  truth = batch['future'][:, :length]
  chain = oracle(draw, key, batch['past'], truth, samples, window)
  shape = (len(chain), samples, *chain.shape[1:])
  return jnp.broadcast_to(chain[:, None], shape)


def own(
    draw: Draw, key: Key, past: Array, samples: int, window: int, length: int
) -> Array:
  """Let each future go on by itself.

  Args:
    draw: one window.
    key: of all draws.
    past: `[B, P, J, 3]`.
    samples: K.
    window: frames that `draw` gives, F.
    length: frames wanted, L.

  Returns:
    `[B, K, L, J, 3]`.
  """
  first_key, key = jax.random.split(key)
  first = draw(first_key, past, samples)
  chex.assert_shape(first, (len(past), samples, window, *past.shape[2:]))
  windows = -(-length // window)
  if windows == 1:
    return first[:, :, :length]
  each = jnp.repeat(past, samples, axis=0)
  seen = _last(each, first.reshape(-1, *first.shape[2:]))

  def step(seen: Array, key: Key) -> tuple[Array, Array]:
    more = draw(key, seen, 1)[:, 0]
    return _last(seen, more), more

  _, more = jax.lax.scan(step, seen, jax.random.split(key, windows - 1))
  rest = _in_a_row(more).reshape(*first.shape[:2], -1, *first.shape[3:])
  return jnp.concatenate([first, rest], axis=2)[:, :, :length]


def oracle(
    draw: Draw, key: Key, past: Array, truth: Array, samples: int, window: int
) -> Array:
  """Go on from the future closest to the truth, after every window.

  Closest in the mean distance of the joints, of a last window as far as the
  truth goes.

  Args:
    draw: one window.
    key: of all draws.
    past: `[B, P, J, 3]`.
    truth: `[B, L, J, 3]`.
    samples: K.
    window: frames that `draw` gives, F.

  Returns:
    The chain `[B, L, J, 3]`.
  """
  length = truth.shape[1]
  windows = -(-length // window)
  missing = windows * window - length
  padded = jnp.pad(truth, ((0, 0), (0, missing), (0, 0), (0, 0)))
  parts = padded.reshape(len(truth), windows, window, *truth.shape[2:])
  counts = (jnp.arange(windows * window) < length).reshape(windows, window)

  def step(
      seen: Array, now: tuple[Key, Array, Array]
  ) -> tuple[Array, Array]:
    key, part, counted = now
    futures = draw(key, seen, samples)
    gaps = jnp.linalg.norm(futures - part[:, None], axis=-1)
    gaps = jnp.sum(jnp.mean(gaps, axis=-1) * counted[None, None], axis=-1)
    best = jnp.argmin(gaps, axis=1)
    chosen = futures[jnp.arange(len(best)), best]
    return _last(seen, chosen), chosen

  scanned = jax.random.split(key, windows), jnp.swapaxes(parts, 0, 1), counts
  _, chain = jax.lax.scan(step, past, scanned)
  return _in_a_row(chain)[:, :length]


def _last(past: Array, future: Array) -> Array:
  """Return the last P frames of both, `[N, P, J, 3]`."""
  return jnp.concatenate([past, future], axis=1)[:, -past.shape[1]:]


def _in_a_row(windows: Array) -> Array:
  """Bring windows `[W, N, F, J, 3]` to `[N, W F, J, 3]`."""
  each = jnp.swapaxes(windows, 0, 1)
  return each.reshape(len(each), -1, *each.shape[3:])
