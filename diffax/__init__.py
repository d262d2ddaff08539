"""Diffusion models of human movement in JAX and Flax."""

__version__ = '0.1.0'
