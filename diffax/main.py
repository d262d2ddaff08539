"""Train, evaluate, sample or time a system: `python -m diffax.main --config=F`.

  --mode=train      train every stage (a rerun resumes), then evaluate and draw
  --mode=evaluate   the metric table and metrics.json of a trained run
  --mode=sample     samples for --input, or for a test segment
  --mode=benchmark  parameters, seconds and share of the machine's peak
  --mode=export     a trained run as one folder, --out, that needs nothing else

With --pretrained=FOLDER instead of --config, --mode=sample takes such a folder.

Exit status: 0 done, 2 a mistake the user can mend, 75 stopped by a signal
with everything saved (run the same command again), other: a fault.
"""

import difflib
import importlib.util
import inspect
import pathlib
import re
import sys
from typing import Any, NoReturn

from absl import app
from absl import flags
from absl import logging
import ml_collections
from ml_collections import config_flags

from diffax import benchmark
from diffax import config as configs
from diffax import evaluate
from diffax import export
from diffax import sampling
from diffax import trained
from diffax.errors import UserError
from diffax.train import devices
from diffax.train import loop
from diffax.trained import Trained

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Experiment file, `experiments/NAME.py[:variant,...]`.'
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of the run; default runs/NAME[-variant].'
)
_MODE = flags.DEFINE_enum(
    'mode', 'train', ['train', 'evaluate', 'sample', 'benchmark', 'export'],
    'What to do.'
)
_OUT = flags.DEFINE_string(
    'out', None, 'Folder of --mode=export; default WORKDIR/export.'
)
_PRETRAINED = flags.DEFINE_string(
    'pretrained', None,
    'Folder of --mode=export to sample from, instead of --config; samples go '
    'to WORKDIR, default runs/FOLDER.'
)
_SEED = flags.DEFINE_integer(
    'seed', None, 'Of --mode=sample; default that of the config.'
)
_INPUT = flags.DEFINE_string(
    'input', None,
    'File for --mode=sample: a clip to continue or to play to (.bvh, .npz, '
    '.amc), a song to dance to (.wav, .ogg, .flac), or a table of the given '
    'signals (.csv).'
)
_START = flags.DEFINE_float(
    'start', None, 'Second of --input at which the future begins.'
)
_SECONDS = flags.DEFINE_float(
    'seconds', None, 'Length of a generated dance, or of the part of --input.'
)
_JOINT_MAP = flags.DEFINE_string(
    'joint_map', None, 'JSON file of joint rules for --input; see data/mapping.'
)
_ASF = flags.DEFINE_string('asf', None, 'Skeleton of an .amc --input.')
_BODY_MODEL = flags.DEFINE_string(
    'body_model', None,
    'SMPL or SMPL-H model file of yours, or a folder of them, for bodies in '
    '--mode=sample.'
)


def train(config: Any, workdir: pathlib.Path) -> None:
  """Train the stages in order; finished ones are only restored."""
  for name in config.stages:
    settings, source, system = configs.parts(configs.stage(config, name))
    shapes = trained.shapes(system, source)
    if devices.is_first():
      print(f'{name}: {benchmark.count(shapes.params):,} parameters')
    loop.fit(
        system,
        source.train,
        name=name,
        seed=settings['seed'],
        steps=settings['steps'],
        optim=settings['optim'],
        ema=settings['ema'],
        checkpoint=settings['checkpoint'],
        log_every=config.log_every,
        workdir=workdir / name,
        frozen=configs.frozen(settings, workdir, shapes.frozen),
        config=settings,
        sharing=config.to_dict().get('devices'),
    )


def check_report(config: Any) -> None:
  """Raise a UserError if the evaluation could not even begin.

  A mistake in it must not wait for the training to end.
  """
  configs.check(
      evaluate.EVALUATORS, _evaluation(config), 'eval',
      ('model', 'seed', 'workdir'),
  )
  for package in evaluate.PACKAGES.get(config.eval.name, ()):
    if importlib.util.find_spec(package) is None:
      raise UserError(
          f'config.eval.name: {config.eval.name!r} needs {package}, which is '
          "not installed: pip install 'diffax[audio]'"
      )


def _evaluation(config: Any) -> dict[str, Any]:
  """Return what of the section `eval` is the evaluator's."""
  section = config.eval.to_dict()
  # What is evaluated is restored by `trained`.
  restored = 'weights', 'data', 'step'
  return {k: v for k, v in section.items() if k not in restored}


def report(config: Any, workdir: pathlib.Path) -> None:
  """Print the metric table, write metrics.json and the curves."""
  configs.build(
      evaluate.EVALUATORS,
      _evaluation(config),
      'eval',
      model=trained.restore(config, workdir),
      seed=config.seed,
      workdir=workdir,
  )


def draw(
    config: Any, workdir: pathlib.Path, model: Trained | None = None
) -> None:
  """Write samples for --input, or for a test segment, as files and pictures.

  Args:
    config: of the run.
    workdir: where `samples` is written, and the run if no model is given.
    model: an exported one.
  """
  drawer = sampling.DRAWERS[config.eval.name]
  options = {
      'input': _INPUT.value, 'start': _START.value, 'asf': _ASF.value,
      'joint_map': _JOINT_MAP.value, 'seconds': _SECONDS.value,
      'body_model': _BODY_MODEL.value,
  }
  given = {name: value for name, value in options.items() if value is not None}
  known = inspect.signature(drawer).parameters
  for name in given:
    if name not in known:
      raise UserError(f'--{name}: expected without {config.eval.name} systems.')
  if 'vocoder' in known and 'vocoder' in config.eval:
    given['vocoder'] = config.eval.vocoder.to_dict()
  seed = config.seed if _SEED.value is None else _SEED.value
  model = model or trained.restore(config, workdir)
  drawer(model, workdir / 'samples', seed=seed, **given)


def draw_pretrained(folder: pathlib.Path) -> None:
  """Write samples of an exported model; see `draw`."""
  if _MODE.value != 'sample' or _CONFIG.value is not None:
    raise UserError(
        '--pretrained: expected with --mode=sample and without --config, which '
        f'the folder holds, found --mode={_MODE.value}'
        + ' and --config.' * (_CONFIG.value is not None)
    )
  model = export.load(folder)
  place = _WORKDIR.value or pathlib.Path('runs') / folder.resolve().name
  draw(model.config, pathlib.Path(place), model)


def _workdir() -> pathlib.Path:
  if _WORKDIR.value:
    return pathlib.Path(_WORKDIR.value)
  path, _, variant = config_flags.get_config_filename(
      flags.FLAGS['config']
  ).partition(':')
  name = pathlib.Path(path).stem
  variant = variant.replace(',', '-')
  return pathlib.Path('runs') / (f'{name}-{variant}' if variant else name)


def run(argv: list[str]) -> None:
  """Do what the flags say."""
  if len(argv) > 1:
    raise UserError(f'expected flags only, found {argv[1:]}.')
  if _SEED.value is not None and _MODE.value != 'sample':
    raise UserError(
        f'--seed: expected with --mode=sample, found --mode={_MODE.value}; a '
        'run has --config.seed.'
    )
  if _PRETRAINED.value:
    devices.keep_memory()
    draw_pretrained(pathlib.Path(_PRETRAINED.value))
    return
  if _CONFIG.value is None:
    raise UserError('--config is needed, e.g. experiments/skeleton_cmu.py.')
  config, workdir = _CONFIG.value, _workdir()
  devices.keep_memory()
  devices.initialise()
  if _MODE.value in ('train', 'evaluate'):
    check_report(config)
  if _MODE.value == 'train':
    with devices.stoppable():
      if devices.is_first():
        configs.save(config, workdir)
      train(config, workdir)
  with devices.first_alone() as first:
    if first:
      _run_alone(config, workdir)


def _run_alone(config: Any, workdir: pathlib.Path) -> None:
  """Do what one process does: all but the training."""
  if _MODE.value in ('train', 'evaluate'):
    report(config, workdir)
  pictures = config.eval.get('figures', True)
  if _MODE.value == 'sample' or (_MODE.value == 'train' and pictures):
    draw(config, workdir)
  if _MODE.value == 'benchmark':
    benchmark.run(config, workdir)
  if _MODE.value == 'export':
    export.save(config, workdir, pathlib.Path(_OUT.value or workdir / 'export'))


def check_overrides(argv: list[str]) -> None:
  """Check `--config` and every `--config.KEY=VALUE` before flags are parsed.

  Args:
    argv: the command line.

  Raises:
    UserError: naming the file, variant or key that does not exist.
  """
  path = _config_path(argv)
  if path is None:
    return
  try:
    config = flags.FLAGS['config'].parser.parse(path)
  except KeyError as error:
    raise UserError(f'--config={path}: there is no {error}.') from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(f'--config={path}: expected a config file, found none.')
  for argument in argv[1:]:
    override = re.match(r'--?(?:no)?config\.([^=]+)', argument)
    if override:
      _check_key(config, override[1])


def _config_path(argv: list[str]) -> str | None:
  for argument, following in zip(argv, [*argv[1:], None]):
    if argument in ('-config', '--config'):
      return following
    if argument.startswith(('-config=', '--config=')):
      return argument.partition('=')[2]
  return None


def _check_key(config: ml_collections.ConfigDict, override: str) -> None:
  section: Any = config
  for part in override.split('.'):
    key = part.partition('[')[0]
    known = list(section) if hasattr(section, 'keys') else []
    if key not in known:
      near = difflib.get_close_matches(key, known, 1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise UserError(
          f'--config.{override}: there is no setting {key!r}.{hint} '
          f'Expected one of {sorted(known)}.'
      )
    section = section[key]


def parse(argv: list[str]) -> list[str]:
  """Parse the flags, and end with status 2 and one line if one is wrong."""
  try:
    check_overrides(argv)
    return flags.FLAGS(argv)
  except (UserError, flags.Error) as error:
    _refuse(error)


def _refuse(error: Exception) -> NoReturn:
  print(f'error: {error}', file=sys.stderr)
  sys.exit(2)


def main(argv: list[str]) -> None:
  """Run, and print a user's mistake as one line instead of a traceback."""
  if not flags.FLAGS['verbosity'].present:
    # The checkpoint library notes every file it touches.
    logging.set_verbosity(logging.WARNING)
  try:
    run(argv)
  except UserError as error:
    _refuse(error)


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
