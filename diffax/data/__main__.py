"""Look at files, prepare data sets.

  python -m diffax.data inspect walk.c3d song.wav
  python -m diffax.data prepare cmu --skip_bad
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import sys
from typing import Any

from diffax.data import inspect
from diffax.data import prepare
from diffax.data import store
from diffax.errors import UserError

OPTIONS: dict[str, tuple[type, str]] = {
    'max_speed': (float, 'm/s that mark a glitch to cut at; 0 cuts nothing'),
    'body_model': (str, 'amass, 3dpw: folder or file of the SMPL-H model'),
    'hands': (int, 'amass: 1 keeps the fingers; needs body_model'),
    'axes': (str, '3dpw: upright or released'),
    'actors': (str, '3dpw: both or last'),
    's8': (str, 'h36m: split of S8: train, val or both (as published)'),
    'annotations': (str, 'freeman: folder of the published lists'),
    'protocol': (str, 'freeman: published (needs the lists) or rule'),
    'upright': (str, 'freeman: negate (as published) or turn'),
    'skeleton': (str, 'bvh: amass21 or own'),
    'joint_map': (str, 'bvh: JSON file, joint of ours -> joint of the file'),
    'split': (str, 'bvh: hash or folder; 3dpw: test or folder'),
    'unit': (str, 'bvh: m, cm, mm, in, ft or acclaim'),
    'up': (str, 'bvh: y or z'),
    'skip_first': (int, 'bvh: frames to leave out at the start'),
    'seed': (int, 'synthetic: seed'),
    'persons': (int, 'synthetic: number of persons'),
    'seconds': (float, 'synthetic: length of a clip'),
}

LOOKS: dict[str, tuple[type, str]] = {
    'fps': (float, 'frames per second, if the file is wrong or does not say'),
    'rate': (float, 'samples per second of signals, likewise'),
    'unit': (str, 'unit of length: m, cm, mm, in, ft or acclaim'),
    'up': (str, 'the vertical axis, y or z'),
    'asf': (str, 'the skeleton of an AMC file'),
}


def parser() -> argparse.ArgumentParser:
  """Return the parser of the command line."""
  main_parser = argparse.ArgumentParser('python -m diffax.data')
  commands = main_parser.add_subparsers(dest='command', required=True)
  command = commands.add_parser(
      'prepare', help='read a data set once and store its clips')
  command.add_argument('name', choices=sorted(prepare.PREPARERS))
  command.add_argument('--root', help='data; default $DIFFAX_DATA, else data')
  command.add_argument(
      '--out', help='store; default $DIFFAX_STORE, else ~/.cache/diffax')
  command.add_argument(
      '--fps', type=float, help='frames per second; default: as published')
  command.add_argument(
      '--skip_bad', action='store_true',
      help='carry on after a bad file and list it')
  for name, (kind, text) in OPTIONS.items():
    command.add_argument(f'--{name}', type=kind, help=text)
  command = commands.add_parser('inspect', help='print what is in files')
  command.add_argument('files', nargs='+', metavar='FILE')
  for name, (kind, text) in LOOKS.items():
    command.add_argument(f'--{name}', type=kind, help=text)
  return main_parser


def look(paths: Sequence[str], options: Mapping[str, Any]) -> int:
  """Print what is in files.

  Returns:
    0, or 2 if one of them cannot be read; the others are shown.
  """
  status = 0
  for path in paths:
    try:
      inspect.show(inspect.look(path, **options))
    except UserError as error:
      print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
      status = 2
  return status


def main(argv: Sequence[str] | None = None) -> int:
  """Run a command.

  Args:
    argv: words of the command line; those of the process if None.

  Returns:
    0, or 2 after a mistake of the user's, told in one message.
  """
  args = parser().parse_args(argv)
  if args.command == 'inspect':
    return look(args.files, {
        name: getattr(args, name) for name in LOOKS
        if getattr(args, name) is not None})
  try:
    manifest = prepare.prepare(
        args.name, args.root, args.out, fps=args.fps or prepare.rate(args.name),
        skip_bad=args.skip_bad,
        **{name: getattr(args, name) for name in OPTIONS})
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  store.print_manifest(manifest)
  print(f'joints: {manifest.get("joints_from", "by name")}')
  if manifest.get('missing_sets'):
    print(f'sets not found: {", ".join(manifest["missing_sets"])}')
  for line in manifest.get('cuts', ()):
    print(line)
  return 0


if __name__ == '__main__':
  sys.exit(main())
