"""A trained run as one folder that needs nothing else.

  README.md            model card: what it is, how to load and sample it
  config.json          settings of the run
  info.json            what systems and samplers know of the data, an example's
  info.safetensors     shapes, and the arrays among it
  weights.safetensors  `params/...`, `frozen/...`: names of a tree joined by /
  samplers.json        what the samplers take and give
  samplers/*.jax       each way of sampling as StableHLO (`jax.export`)
  vocoder/             weights of the run's vocoder, where it has any
  metrics.json         of the run's evaluation, where there was one
  manifest.json        versions, and size and SHA-256 of every file

`save` writes such a folder; `load` gives back the model, whose samples are
those of the run bit for bit. It needs no data set and checks every byte first.
Nothing is pickled: values that are no JSON have a form of their own (`codec`).

The samplers are functions (weights, key, batch) of the file's arrays. Weights
are arguments, not part of the program, since as constants they would be
compiled in, be stored once for each sampler, and, folded into other numbers,
no longer give the same bits.
"""

from diffax.export.reading import load
from diffax.export.writing import save

__all__ = ['load', 'save']
