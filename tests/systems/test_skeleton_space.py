"""What the networks see of motions, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from diffax.errors import UserError
from diffax.systems import skeleton_space
from diffax.systems.skeleton_space import Space

MOTION = np.random.default_rng(0).uniform(-1, 1, (2, 3, 12, 4, 3))


@pytest.mark.parametrize('kind', skeleton_space.REPRESENTATIONS)
@pytest.mark.parametrize('lead', [(), (3,), (2, 3)])
def test_what_enters_leaves_as_it_was(kind, lead):
  motion = jnp.asarray(MOTION[(0,) * (2 - len(lead))], jnp.float32)
  space = Space(1.2, kind)
  seen = jax.jit(space.enter)(motion)
  assert seen.shape == motion.shape == (*lead, 12, 4, 3)
  np.testing.assert_allclose(space.leave(seen), motion, atol=1e-6)


def test_the_transform_is_the_orthonormal_cosine_transform():
  expected = scipy.fft.dct(MOTION, norm='ortho', axis=-3)
  motion = jnp.asarray(MOTION)
  np.testing.assert_allclose(
      Space(1.0, 'dct_orthonormal').enter(motion), expected, atol=1e-6
  )
  np.testing.assert_allclose(
      Space(2.0, 'dct').enter(motion), expected / 2 / np.sqrt(12), atol=1e-6
  )


def test_coefficients_within_the_box_stay_within_it():
  # The signs of each cosine are the motions of the largest coefficients.
  motion = np.sign(skeleton_space.cosines(12))[:, :, None, None]
  motion = jnp.asarray(np.broadcast_to(motion, (12, 12, 4, 3)))
  assert np.abs(Space(1.0, 'dct').enter(motion)).max() <= 1 + 1e-6
  released = np.abs(Space(1.0, 'dct_orthonormal').enter(motion)).max()
  np.testing.assert_allclose(released, np.sqrt(12), rtol=1e-6)


def test_cut_futures_are_refused_where_coefficients_are_counted():
  Space(1.2).check_whole(6, 12)
  Space(1.2, 'dct').check_whole(12, 12)
  with pytest.raises(UserError, match=r'found 6; set .*buckets = \(12,\)'):
    Space(1.2, 'dct').check_whole(6, 12)


def test_other_representations_are_refused():
  with pytest.raises(UserError, match="'dct', .* found 'wavelet'"):
    Space(1.2, 'wavelet')
