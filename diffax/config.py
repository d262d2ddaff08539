"""From a config to built parts: `name` picks a builder, the rest are keywords.

A config has the sections `data`, `system`, `optim`, `ema`, `checkpoint`,
`eval` and a tuple `stages`. Each stage is a section of its own whose
sub-sections overlay the shared ones of the same name, so a value that two
stages share (a width, a box size) is written once. The seed of a stage is added
to that of the config, so that another `config.seed` is another training.
"""

from collections.abc import Callable, Mapping, Sequence
import difflib
import inspect
import json
import pathlib
from typing import Any

import jax
import ml_collections

from diffax import data
from diffax import systems
from diffax.data import base as data_base
from diffax.errors import UserError
from diffax.systems import base
from diffax.train import checkpoint

SHARED = ('data', 'system', 'optim', 'ema', 'checkpoint')
STAGE = (
    'seed', 'steps', 'epochs', 'epoch_steps', 'batch_size', 'pretrained',
    *SHARED,
)
# What is written in epochs when a stage gives `epochs` instead of `steps`.
_IN_EPOCHS = {
    ('optim', 'schedule'): ('hold', 'every', 'steps', 'warmup'),
    ('data', 'curriculum'): ('ramp', 'floor_ramp'),
}


def build(
    table: Mapping[str, Callable[..., Any]],
    section: Mapping[str, Any],
    field: str,
    **joined: Any,
) -> Any:
  """Call `table[section['name']]` with the other keys of the section.

  Args:
    table: builders by name.
    section: `name` and the builder's keyword arguments.
    field: where the section stands in the config, for messages.
    **joined: arguments that do not come from the section.

  Returns:
    What the builder returns.

  Raises:
    UserError: if the name or a key is unknown, or a needed key is missing.
  """
  check(table, section, field, tuple(joined))
  keywords = dict(section)
  return table[keywords.pop('name')](**joined, **keywords)


def check(
    table: Mapping[str, Callable[..., Any]],
    section: Mapping[str, Any],
    field: str,
    joined: Sequence[str] = (),
) -> None:
  """Raise a UserError where `build` would, without calling anything.

  Args:
    table: builders by name.
    section: `name` and the builder's keyword arguments.
    field: where the section stands in the config, for messages.
    joined: names of the arguments that do not come from the section.

  Raises:
    UserError: if the name or a key is unknown, or a needed key is missing.
  """
  keywords = dict(section)
  name = keywords.pop('name', None)
  if name not in table:
    raise UserError(
        f'config.{field}.name: expected one of {sorted(table)}, found {name!r}.'
    )
  known = inspect.signature(table[name]).parameters
  for key in keywords:
    if key not in known:
      near = difflib.get_close_matches(key, known, 1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise UserError(
          f'config.{field}.{key}: {name!r} has no such setting.{hint} It has '
          f'{sorted(set(known) - set(joined))}.'
      )
  needed = {k for k, v in known.items() if v.default is inspect.Parameter.empty}
  missing = needed - set(keywords) - set(joined)
  if missing:
    raise UserError(f'config.{field}: {name!r} needs {sorted(missing)}.')


def stage(config: ml_collections.ConfigDict, name: str) -> dict[str, Any]:
  """Return the plain settings of one stage, laid over the shared sections.

  Args:
    config: the whole config.
    name: one of `config.stages`.

  Returns:
    A nested dict with keys `seed, steps, batch_size, pretrained, data, system,
    optim, ema, checkpoint`.

  Raises:
    UserError: if the stage is not in the config, has an unknown key or no
      batch size.
  """
  whole = config.to_dict()
  if name not in whole or name not in config.stages:
    raise UserError(
        f'config.stages: expected names of sections, found {name!r}.'
    )
  own = whole[name]
  unknown = set(own) - set(STAGE)
  if unknown:
    raise UserError(
        f'config.{name}: unknown {sorted(unknown)}; a stage has '
        f'{sorted(STAGE)}.'
    )
  if 'batch_size' not in own:
    raise UserError(f'config.{name}.batch_size: expected a number, found none.')
  settings = {
      'seed': whole.get('seed', 0) + own.get('seed', 0),
      'steps': own.get('steps'),
      'epochs': own.get('epochs'),
      'epoch_steps': own.get('epoch_steps'),
      'batch_size': own['batch_size'],
      'pretrained': own.get('pretrained', {}),
  }
  for section in SHARED:
    settings[section] = {**whole.get(section, {}), **own.get(section, {})}
  if settings['data'].get('options'):
    # A placeholder left empty is no setting; it must not name another store.
    settings['data']['options'] = {
        k: v for k, v in settings['data']['options'].items() if v is not None
    }
  return settings


def parts(
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], data_base.Source, base.System]:
  """Build the source and the system of a stage.

  Args:
    settings: from `stage`.

  Returns:
    The settings with every length in steps, the source, the system.
  """
  settings = dict(settings)
  if settings['epochs'] and settings['epoch_steps']:
    settings = in_steps(settings, settings['epoch_steps'])
  found = source(settings)
  if settings['epochs']:
    items = found.info['epoch_size']
    settings = in_steps(settings, -(-items // settings['batch_size']))
  if not settings['steps']:
    raise UserError('config: a stage needs `steps` or `epochs`.')
  return settings, found, system(settings, found.info)


def in_steps(settings: Mapping[str, Any], epoch: int) -> dict[str, Any]:
  """Turn lengths in epochs into steps.

  Args:
    settings: of a stage with `epochs`.
    epoch: steps of one epoch.

  Returns:
    The settings with `steps` instead.
  """
  found = dict(settings, epochs=None, steps=settings['epochs'] * epoch)
  for (section, part), keys in _IN_EPOCHS.items():
    inner = found[section].get(part)
    if inner:
      scaled = {k: v * epoch if k in keys else v for k, v in inner.items()}
      found[section] = {**found[section], part: scaled}
  return found


def source(settings: Mapping[str, Any]) -> data_base.Source:
  """Build the data of a stage."""
  return build(
      data.SOURCES,
      settings['data'],
      'data',
      seed=settings['seed'],
      batch_size=settings['batch_size'],
  )


def system(
    settings: Mapping[str, Any], info: Mapping[str, Any]
) -> base.System:
  """Build the system of a stage for a source's `info`."""
  return build(systems.SYSTEMS, settings['system'], 'system', info=info)


def frozen(
    settings: Mapping[str, Any],
    workdir: pathlib.Path,
    expected: Mapping[str, Any],
) -> dict[str, Any]:
  """Load what earlier stages trained: `pretrained = {part: stage or path}`.

  Args:
    settings: of the stage that needs the parts.
    workdir: folder of the run; a stage named `s` trained in `workdir/s`.
    expected: shapes of the frozen parts, as `system.init` makes them.

  Returns:
    A dict of parameter trees by part.

  Raises:
    UserError: if a part is missing, not trained yet or of other shapes.
  """
  places = dict(settings['pretrained'])
  if set(places) != set(expected):
    raise UserError(
        f'config.pretrained: expected the parts {sorted(expected)}, found '
        f'{sorted(places)}.'
    )
  loaded = {}
  for part, place in places.items():
    folder = workdir / place
    if not folder.is_dir():
      folder = pathlib.Path(place)
    if not folder.is_dir():
      raise UserError(
          f'config.pretrained.{part}: expected a trained stage or its folder, '
          f'found {place!r}; neither {workdir / place} nor {place} exists.'
      )
    loaded[part], _ = checkpoint.load(folder, 'params')
    check_shapes(loaded[part], expected[part], f'{folder}')
  return loaded


def check_shapes(found: Any, expected: Any, where: str) -> None:
  """Raise a UserError that names the leaves of another shape."""
  found, expected = (
      {jax.tree_util.keystr(path): leaf.shape for path, leaf in
       jax.tree_util.tree_leaves_with_path(tree)}
      for tree in (found, expected)
  )
  wrong = [
      f'{path}: expected {expected.get(path)}, found {found.get(path)}'
      for path in sorted(set(found) | set(expected))
      if found.get(path) != expected.get(path)
  ]
  if wrong:
    more = f' (and {len(wrong) - 3} more)' if len(wrong) > 3 else ''
    raise UserError(
        f'{where}: weights of another model. ' + '; '.join(wrong[:3]) + more
    )


def save(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Write the config as it runs to `workdir/config.json`."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config.to_dict(), indent=2, default=str)
    (workdir / 'config.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error
