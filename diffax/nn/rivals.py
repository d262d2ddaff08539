"""The parts of a cross-modal denoiser, put together as its rivals are.

All have the encoder E and the decoder D of `crossmodal`, so that models differ
in how they are used, not in size. With conditions y and their embedding c,

  (1)  regressor    z = E(y),                     x = V D(c, z)
  (2)  variational  z ~ N(M E(x), exp(S E(x))),   x = V D(c, z)
  (3)  fused        z = E(x_t),                   x = V D(z, z of the others)
"""

from collections.abc import Mapping

from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.crossmodal import CrossModal
from diffax.typing import Array


class Regressor(CrossModal):
  """Predict a modality from the others alone (Eq. 1)."""

  def __call__(
      self,
      xt: Array,
      t: Array,
      given: Mapping[str, Array],
      present: Mapping[str, Array] | None = None,
      train: bool = False,
  ) -> tuple[Array, Array]:
    """Return x `[B, L, C]` and z `[B, L / patch, D]`; x_t is not used."""
    del xt
    conditions = jnp.concatenate([given[name] for name in self.others], -1)
    return super().__call__(conditions, t, given, present, train)


class Variational(CrossModal):
  """Encode a modality alone as a normal distribution (Eq. 2)."""

  def setup(self) -> None:
    """Make the parts."""
    super().setup()
    self.moment = nn.Dense(2 * self.width, dtype=self.dtype)

  def moments(
      self, x: Array, t: Array, train: bool = False
  ) -> tuple[Array, Array]:
    """Return mean and log variance of z, `[B, L / patch, D]` each."""
    found = self.moment(super().encode(x, t, train)).astype(jnp.float32)
    mean, log_variance = jnp.split(found, 2, axis=-1)
    return mean, log_variance

  def encode(self, xt: Array, t: Array, train: bool = False) -> Array:
    """Return the mean of z, `[B, L / patch, D]`."""
    return self.moments(xt, t, train)[0]


class Fused(CrossModal):
  """Denoise several modalities, each told what the others encode (Eq. 3)."""

  def __call__(
      self,
      xt: Array,
      t: Array,
      given: Mapping[str, Array],
      present: Mapping[str, Array] | None = None,
      train: bool = False,
  ) -> tuple[Array, Array]:
    """Return `fuse` of x_t `[B, L, C]` and the others' latents `given`."""
    del present
    return self.fuse(self.encode(xt, t, train), given, train)

  def fuse(
      self, z: Array, given: Mapping[str, Array], train: bool = False
  ) -> tuple[Array, Array]:
    """Return x_0 `[B, L, C]` and fused features `[B, L / patch, D]`.

    Args:
      z: latents `[B, L / patch, D]` of the modality.
      given: the others' by name.
      train: whether to drop features.
    """
    memory = jnp.concatenate([given[name] for name in self.others], axis=1)
    fused = self.decoder(z, memory, train=train)
    out = self.write(fused)
    return out.reshape(z.shape[0], -1, self.channels), fused
