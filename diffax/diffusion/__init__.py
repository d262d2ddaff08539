"""Diffusion kernels: pure functions of arrays, no modules, config or I/O."""
