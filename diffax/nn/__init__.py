"""Networks: flax.linen modules that know nothing of data or diffusion."""
