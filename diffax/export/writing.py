"""Write a trained run as a folder that needs nothing else."""

from collections.abc import Mapping
import importlib.metadata
import json
import pathlib
import platform
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import diffax
from diffax import config as configs
from diffax import signal
from diffax import trained
from diffax.data import folders
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.export import card
from diffax.export import codec
from diffax.export import layout
from diffax.export import samplers
from diffax.export import weights as files
from diffax.systems import vocoder as vocoders
from diffax.systems import vocoder_import
from diffax.train import checkpoint
from diffax.train import devices
from diffax.train.state import TrainState
from diffax.trained import Parts

# Lists of the data's files, and places on this machine.
_NOT_FACTS = (
    'store', 'manifest', 'clips', 'recordings', 'dances', 'picks', 'picked',
)
_PLACES = ('root', 'store')
_PACKAGES = ('jax', 'jaxlib', 'flax', 'numpy', 'safetensors')


def save(config: Any, workdir: pathlib.Path, folder: pathlib.Path) -> None:
  """Export the last stage of a run.

  Args:
    config: of the run; `config.eval` names weights and step, as elsewhere.
    workdir: of the run.
    folder: to write, whole or not at all; an older export there is replaced.

  Raises:
    UserError: the run is not trained, has something that cannot be exported,
      or the folder holds something else or cannot be written.
  """
  if not devices.is_first():
    return
  folder = folder.expanduser().absolute()
  _check_place(folder)
  found = trained.parts(config, workdir)
  try:
    with folders.filling(folder) as work:
      _fill(work, found, workdir)
  except OSError as error:
    raise UserError(f'{folder}: cannot be written: {error}') from error
  size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
  print(f'exported to {folder}: {size / 2**20:,.1f} MiB')


def _check_place(folder: pathlib.Path) -> None:
  if not folder.exists():
    return
  found = _files(folder) if folder.is_dir() else [folder.name]
  known = layout.listed(folder)
  other = [name for name in found if name not in known]
  if other:
    raise UserError(
        f'--out {folder}: expected a new folder, an empty one or an older '
        f'export, which is replaced, found {", ".join(other[:3])}.'
    )


def _files(folder: pathlib.Path) -> list[str]:
  return sorted(
      path.relative_to(folder).as_posix()
      for path in folder.rglob('*') if path.is_file()
  )


def _fill(work: pathlib.Path, found: Parts, workdir: pathlib.Path) -> None:
  info = _facts(found)
  arrays: dict[str, np.ndarray] = {}
  facts = codec.encode(
      {'info': info, 'example': _example(found)}, arrays, 'data'
  )
  config = _config(found, work)
  _write_json(work / layout.CONFIG, codec.encode(config, {}, 'config'))
  _write_json(work / layout.INFO, facts)
  files.write(work / layout.ARRAYS, arrays)
  files.write(work / layout.WEIGHTS, found.weights._asdict())
  made = samplers.make(found)
  ways = [sampler for sampler, _ in made]
  samplers.write(work, made)
  _write_json(
      work / layout.SAMPLERS,
      {way.name: way.facts() for way in ways},
  )
  metrics = _metrics(workdir)
  if metrics is not None:
    _write_json(work / layout.METRICS, metrics)
  used = versions()
  (work / layout.CARD).write_text(
      card.text(
          found, info, ways, metrics, _licence(found.source.info), used
      ),
      encoding='utf-8',
  )
  names = _files(work)
  folders.write_manifest(work, {
      'format': layout.FORMAT, 'step': found.step, 'versions': used,
  }, names)


def versions() -> dict[str, str]:
  """Return the versions of what made a folder."""
  return {
      'diffax': diffax.__version__, 'python': platform.python_version(),
      **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def _write_json(path: pathlib.Path, value: Any) -> None:
  text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
  path.write_text(text + '\n', encoding='utf-8')


def _facts(found: Parts) -> dict[str, Any]:
  """Return what a model needs to know of its data.

  The windows that moments are taken of go along with a system that cannot be
  built without them.
  """
  info = found.source.info
  kept = {key: x for key, x in info.items() if key not in _NOT_FACTS}
  if 'picked' not in info:
    return kept
  try:
    configs.system(found.settings, kept)
    return kept
  except UserError:
    # It was built with them, so they are what it lacks.
    return {**kept, 'picked': dict(info['picked'])}


def _example(found: Parts) -> dict[str, tuple[tuple[int, ...], str]]:
  shapes = trained.example(found.source)
  return {name: (x.shape, x.dtype.name) for name, x in shapes.items()}


def _config(found: Parts, work: pathlib.Path) -> dict[str, Any]:
  """Return the settings without places of this machine.

  A vocoder with weights is copied into the folder.
  """
  config: dict[str, Any] = found.config.to_dict()
  for part in (config, *config.values()):
    data = part.get('data') if isinstance(part, dict) else None
    if isinstance(data, dict):
      data.update({key: None for key in _PLACES if key in data})
  section = config['eval'].get('vocoder') or {}
  if section.get('weights'):
    config['eval']['vocoder'] = _carry_vocoder(section, work / layout.VOCODER)
  return config


def _carry_vocoder(
    section: Mapping[str, Any], folder: pathlib.Path
) -> dict[str, Any]:
  """Write a vocoder, trained here or published, as a trained stage."""
  weights = pathlib.Path(section['weights'])
  if not weights.exists():
    raise UserError(
        'config.eval.vocoder.weights: expected the folder of a trained stage '
        f'or a published file, found {section["weights"]!r}.'
    )
  if weights.is_dir():
    size = vocoders.size_of(section.get('size', 'small'))
    params = checkpoint.load(weights, 'ema')[0]['generator']
  else:
    size, params = _published(weights, section)
  none = jnp.zeros(())
  state = TrainState(
      none.astype(jnp.int32), {'none': none}, {},
      {'generator': jax.tree.map(jnp.asarray, params)}, {'none': none},
      none.astype(jnp.int32),
  )
  with checkpoint.Saver(folder, 1) as saver:
    saver.save(state)
    saver.wait()
  return {'name': section['name'], 'weights': folder.name,
          'size': size._asdict()}


def _published(
    weights: pathlib.Path, section: Mapping[str, Any]
) -> tuple[Any, Any]:
  release, config = section.get('release'), section.get('config')
  read = vocoder_import.load(
      weights, mel=signal.MAA, config=config, name=release,
      log=section.get('log', 'log10'),
  )
  if release is not None:
    return vocoders.size_of(release), read.params
  path = pathlib.Path(config or weights.with_name('config.json'))
  fields = vocoder_import.read_config(path)
  return vocoder_import.size_of(fields, path), read.params


def _metrics(workdir: pathlib.Path) -> Any:
  path = workdir / layout.METRICS
  if not path.is_file():
    return None
  try:
    return _finite(json.loads(path.read_text(encoding='utf-8')))
  except ValueError as error:
    raise DataError(
        path, 'text', 'JSON', f'{error}', 'Run --mode=evaluate again'
    ) from error


def _finite(value: Any) -> Any:
  """Replace what is not finite, which JSON does not know, by null."""
  if isinstance(value, dict):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_finite(item) for item in value]
  return None if isinstance(value, float) and not np.isfinite(value) else value


def _licence(info: Mapping[str, Any]) -> Any:
  """Return what the manifest of the data says of their licence, or None."""
  manifest = info.get('manifest')
  path = pathlib.Path(info.get('store', '')) / folders.MANIFEST
  if manifest is None and 'store' in info and path.is_file():
    manifest = json.loads(path.read_text(encoding='utf-8'))
  return (manifest or {}).get('licence')
