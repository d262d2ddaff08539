"""The model card of an exported folder, its README."""

from collections.abc import Iterator, Mapping, Sequence
import inspect
import json
import math
import textwrap
from typing import Any

import jax

from diffax import systems
from diffax.export.samplers import Sampler
from diffax.trained import Parts

_MOST_ROWS = 40
_INPUTS = {
    'forecasting': '--input=CLIP.bvh',
    'crossmodal': '--input=TABLE.csv',
    'recognition': '',
    'dance': '--input=SONG.wav',
    'vocoder': '--input=SOUND.wav',
}


def text(
    found: Parts,
    info: Mapping[str, Any],
    samplers: Sequence[Sampler],
    metrics: Mapping[str, Any] | None,
    licence: Any,
    versions: Mapping[str, str],
) -> str:
  """Write the card.

  Args:
    found: the model.
    info: what the folder keeps of its data.
    samplers: the ways in which the model can sample.
    metrics: of its evaluation; None if there was none.
    licence: of the data, as their manifest has it; None if it says nothing.
    versions: of what made the folder.

  Returns:
    Markdown.
  """
  stage = found.config.stages[-1]
  name = found.settings['system']['name']
  parts = [
      '---\nlibrary_name: diffax\ntags: [jax, flax, diffusion, human-movement]'
      '\n---',
      f'# {name} on {info["name"]}',
      _about(name),
      f'Stage `{stage}`, weights `{found.config.eval.weights}` of step '
      f'{found.step:,}, seed {found.settings["seed"]}, batches of '
      f'{found.settings["batch_size"]}. All settings: `config.json`.',
      _sizes(found),
      '## Data\n\n' + _data(found, info, licence),
      '## Evaluation\n\n' + _numbers(metrics),
      '## Load and sample\n\n' + _use(found, samplers),
      '## Without diffax\n\n' + _without(samplers),
      '## Made with\n\n' + ', '.join(f'{k} {v}' for k, v in versions.items())
      + '. `manifest.json` has the SHA-256 of every file; loading compares it.'
      ' No file is a pickle.',
  ]
  return '\n\n'.join(parts) + '\n'


def _about(name: str) -> str:
  module = inspect.getmodule(systems.SYSTEMS[name])
  return (inspect.getdoc(module) or '').partition('\n')[0]


def _sizes(found: Parts) -> str:
  trees = {'trained in this stage': found.weights.params}
  trees |= {
      f'given, `{part}`': tree for part, tree in found.weights.frozen.items()
  }
  rows = [
      f'| {what} | {sum(math.prod(x.shape) for x in jax.tree.leaves(tree)):,} |'
      for what, tree in trees.items()
  ]
  return '\n'.join(['| weights | parameters |', '| --- | ---: |', *rows])


def _data(found: Parts, info: Mapping[str, Any], licence: Any) -> str:
  trained_on = found.config.get('data', {}).get('name', info['name'])
  lines = [f'Trained on `{trained_on}`.']
  if found.config.eval.to_dict().get('data'):
    lines.append('Facts in `info.json` are those of the data it was evaluated '
                 f'on, `{info["name"]}`.')
  if 'sha256' in info:
    lines.append(f'Manifest of the prepared data: SHA-256 `{info["sha256"]}`.')
  if 'skeleton' in info:
    body = info['skeleton']
    lines.append(
        f'Skeleton `{body.name}` of {len(body.joints)} joints, root first, '
        f'metres, Z up, {info["fps"]:g} frames per second.'
    )
  if licence is None:
    said = (
        'not stated in the manifest of the data. Ask who gave them to you '
        'before you pass this folder on.'
    )
  else:
    said = licence if isinstance(licence, str) else json.dumps(
        licence, ensure_ascii=False
    )
  lines.append(f'Licence of the data: {said}')
  if 'picked' in info:
    count = len(info['picked']['label'])
    lines.append(
        f'`info.safetensors` holds {count} windows of the training data, '
        'augmented ones included, since the model takes their moments: the '
        'licence of the data covers that file.'
    )
  return '\n\n'.join(lines)


def _numbers(metrics: Mapping[str, Any] | None) -> str:
  if metrics is None:
    return 'Not evaluated before the export.'
  rows = [row for row in _rows(metrics, ()) if 'model' in row[0]]
  lines = [
      f'| {" / ".join(path)} | {value["mean"]:.4g} | {value.get("n", "")} |'
      for path, value in rows[:_MOST_ROWS]
  ]
  if not lines:
    return 'See `metrics.json`.'
  more = f', {len(rows)} such numbers' if len(rows) > _MOST_ROWS else ''
  return '\n'.join([
      f'Means of the model; baselines and more in `metrics.json`{more}.', '',
      '| what | mean | n |', '| --- | ---: | ---: |', *lines,
  ])


def _rows(
    value: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
  if not isinstance(value, Mapping):
    return
  if isinstance(value.get('mean'), (int, float)):
    yield path, value
    return
  for key, item in value.items():
    yield from _rows(item, (*path, str(key)))


def _use(found: Parts, samplers: Sequence[Sampler]) -> str:
  kind = found.config.eval.name
  first = samplers[0]
  batch = ', '.join(
      f"'{name}': {_zeros(shape, dtype, first.batch or 1)}"
      for name, (shape, dtype) in first.inputs.items()
  )
  lines = [
      '```bash',
      'python -m diffax.main --mode=sample --pretrained=FOLDER '
      f'--workdir=OUT {_INPUTS.get(kind, "")}'.rstrip(),
      '```', '',
      '```python',
      'import diffax', 'import jax', 'import numpy as np', '',
      "model = diffax.load_pretrained('.')  # this folder",
      f'batch = {{{batch}}}',
      'made = model.sample(batch, jax.random.key(0))',
      '```', '',
      'The same key gives the same numbers as the run gave, on the same kind '
      'of CPU to the last bit. `model.source.info` holds means, deviations, '
      'names and rates, `model.config` the settings.',
  ]
  return '\n'.join(lines)


def _without(samplers: Sequence[Sampler]) -> str:
  rows = ['| file | batch | takes | gives |', '| --- | --- | --- | --- |']
  for sampler in samplers:
    rows.append(
        f'| `{sampler.file}` | {sampler.batch or "any"} | '
        f'{_shapes(sampler.inputs)} | {_shapes(sampler.outputs)} |'
    )
  first = samplers[0]
  batch = ', '.join(
      f"'{name}': {_zeros(shape, dtype, first.batch or 1)}"
      for name, (shape, dtype) in first.inputs.items()
  )
  code = f'''\
      ```python
      from jax import export
      import numpy as np
      from safetensors.numpy import load_file

      with open('{first.file}', 'rb') as file:
        sampler = export.deserialize(bytearray(file.read()))
      weights = load_file('weights.safetensors')
      key = np.array([0, 7], np.uint32)  # jax.random.key_data(key(7))
      batch = {{{batch}}}
      made = sampler.call(weights, key, batch)
      ```'''
  return '\n\n'.join([
      'Each way of sampling is a StableHLO program of `jax.export` for CPU, '
      'CUDA and TPU; it takes the weights as arguments. B is the size of the '
      'batch. What goes in and comes out is standardised, centred or scaled '
      'as in `info.json`; the numbers are those of the model up to rounding.',
      '\n'.join(rows), textwrap.dedent(code),
  ])


def _shapes(inputs: Mapping[str, tuple[tuple[Any, ...], str]]) -> str:
  return ', '.join(
      f'{name} [{", ".join(map(str, shape))}] {dtype}'
      for name, (shape, dtype) in inputs.items()
  )


def _zeros(shape: Sequence[Any], dtype: str, size: int) -> str:
  full = (size, *shape[1:])
  return f'np.zeros({full}, np.{dtype})'
