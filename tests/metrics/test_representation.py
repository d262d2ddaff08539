"""Probes and similarities of latents where the answer is known."""

import warnings

import numpy as np
import pytest
from scipy import stats

from diffax.errors import UserError
from diffax.metrics import representation

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(200, 6))
NOISE = RNG.normal(size=(200, 6))
ROTATION = stats.ortho_group.rvs(6, random_state=0)


def blobs(count, seed):
  rng = np.random.default_rng(seed)
  label = np.arange(count) % 3
  centre = 4 * np.eye(3)[label]
  return centre + rng.normal(size=(count, 3)) * 0.5, label


def crosses(count, seed):
  rng = np.random.default_rng(seed)
  z = rng.uniform(-1, 1, size=(count, 2))
  return z, (z[:, 0] * z[:, 1] > 0).astype(int)


@pytest.mark.parametrize('kind', representation.KINDS)
def test_probes_read_what_is_there_and_only_that(kind):
  (z, label), (held, held_label) = blobs(300, 0), blobs(90, 1)
  assert representation.probe(z, label, held, held_label, kind) > 0.95
  blind = np.random.default_rng(2).permutation(label)
  found = representation.probe(z, blind, held, held_label, kind, iterations=50)
  assert found < 0.6


def test_only_the_nonlinear_probe_reads_a_product():
  (z, label), (held, held_label) = crosses(600, 0), crosses(300, 1)
  assert representation.probe(z, label, held, held_label) < 0.65
  assert representation.probe(z, label, held, held_label, 'nonlinear') > 0.85


def test_a_probe_ignores_scale_and_shift_and_dead_dimensions():
  (z, label), (held, held_label) = blobs(90, 0), blobs(60, 1)
  held = held + 2 * np.random.default_rng(3).normal(size=held.shape)
  expected = representation.probe(z, label, held, held_label)
  assert 0.5 < expected < 1
  moved_z, moved_held = (
      np.pad(1000 * x + 7, ((0, 0), (0, 1)), constant_values=0.1)
      for x in (z, held)
  )
  assert expected == representation.probe(
      moved_z, label, moved_held, held_label
  )


def test_the_training_part_alone_sets_the_scale():
  (z, label), (held, held_label) = blobs(90, 0), blobs(60, 1)
  far = np.concatenate([held, np.full((1, 3), 1e6)])
  found = representation.probe(z, label, far, np.append(held_label, -1))
  alone = representation.probe(z, label, held, held_label)
  np.testing.assert_allclose(found, alone * 60 / 61)


@pytest.mark.parametrize('kind', representation.KINDS)
def test_reaching_the_last_iteration_is_silent(kind):
  z, label = blobs(60, 0)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    representation.probe(z, label, z, label, kind, iterations=1)


def test_a_seed_fixes_the_nonlinear_probe():
  (z, label), (held, held_label) = crosses(100, 0), crosses(100, 1)
  found = [
      representation.probe(
          z, label, held, held_label, 'nonlinear', seed=s, iterations=3
      )
      for s in (0, 0, 1)
  ]
  assert found[0] == found[1] != found[2]


def test_few_windows_of_a_class_can_be_probed():
  z, label = blobs(60, 0)
  label = np.where(np.arange(60) == 0, 9, label)
  found = representation.probe(z, label, z, label, 'nonlinear', iterations=99)
  assert found > 0.9


def test_chance_is_of_the_training_classes():
  found = representation.chance(np.array([3, 3, 5, 7]), np.array([3, 5, 5, 9]))
  assert found == representation.Chance(1 / 3, 1 / 4)


@pytest.mark.parametrize(
    'change, match',
    [
        ({'kind': 'cubic'}, 'cubic'),
        ({'train_label': np.zeros(90)}, 'two or more classes'),
        ({'train_label': np.zeros(9)}, r'\(9,\)'),
        ({'test_z': np.zeros((60, 4))}, r'\(60, 4\)'),
        ({'test_z': np.full((60, 3), np.nan)}, 'finite'),
    ],
)
def test_unfit_probes_are_refused(change, match):
  z, label = blobs(90, 0)
  held, held_label = blobs(60, 1)
  arguments: dict = {
      'train_z': z, 'train_label': label, 'test_z': held,
      'test_label': held_label,
  }
  with pytest.raises(UserError, match=match):
    representation.probe(**arguments | change)


def test_correlations_agree_with_an_independent_formula():
  zy = 0.5 * Z + NOISE
  expected = [stats.pearsonr(Z[:, d], zy[:, d])[0] for d in range(6)]
  found = representation.correlations(
      Z.reshape(20, 10, 6), zy.reshape(20, 10, 6)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-9)
  mean, std = representation.latent_correlation(Z, zy)
  np.testing.assert_allclose(
      (mean, std), (np.mean(expected), np.std(expected)), rtol=1e-9
  )


def test_dead_dimensions_are_counted_or_left_out():
  # 0.1 has no exact mean: its deviations are rounding, not a signal.
  zx, zy = Z.copy(), Z.copy()
  zx[:, :3] = 0.1
  assert np.isnan(representation.correlations(zx, zy)[:3]).all()
  np.testing.assert_allclose(
      representation.latent_correlation(zx, zy), (0.5, 0.5), rtol=1e-9
  )
  np.testing.assert_allclose(
      representation.latent_correlation(zx, zy, dead='skip'), (1.0, 0.0),
      atol=1e-7,
  )
  collapsed = np.full_like(Z, 0.1)
  assert representation.latent_correlation(collapsed, Z) == (0.0, 0.0)
  assert representation.cka(collapsed, Z) == 0.0
  with pytest.raises(UserError, match='constant'):
    representation.latent_correlation(collapsed, Z, dead='skip')


def test_cka_sees_through_rotation_scale_and_shift():
  zy = Z + 0.5 * NOISE
  found = representation.cka(Z, zy)
  assert 0.5 < found < 0.95
  np.testing.assert_allclose(
      representation.cka(3 * Z @ ROTATION + 1, zy @ ROTATION.T), found,
      rtol=1e-9,
  )
  np.testing.assert_allclose(representation.cka(Z, Z @ ROTATION), 1.0)
  # The correlation of single dimensions does not.
  assert representation.latent_correlation(Z, Z @ ROTATION)[0] < 0.9


def test_cka_agrees_with_its_form_by_samples():
  zy = np.concatenate([Z[:, :2] ** 2, NOISE[:, :2]], 1)
  gram = [
      (z - z.mean(0)) @ (z - z.mean(0)).T for z in (Z, zy)
  ]
  expected = np.sum(gram[0] * gram[1]) / np.sqrt(
      np.sum(gram[0] ** 2) * np.sum(gram[1] ** 2)
  )
  np.testing.assert_allclose(representation.cka(Z, zy), expected, rtol=1e-9)


def test_unfit_latents_are_refused():
  with pytest.raises(UserError, match='latent_correlation'):
    representation.latent_correlation(Z, Z[:, :3])
  with pytest.raises(UserError, match='cka'):
    representation.cka(Z, Z[:100])
  with pytest.raises(UserError, match='dead'):
    representation.latent_correlation(Z, Z, dead='nan')
