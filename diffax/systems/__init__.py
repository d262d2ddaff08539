"""Systems by name: `SYSTEMS[name](info=source.info, **config.system)`."""

from collections.abc import Callable, Mapping

from diffax.systems import imu
from diffax.systems import lambda_baselines
from diffax.systems import lambda_twin
from diffax.systems import momu
from diffax.systems import momu_vae
from diffax.systems import skeleton
from diffax.systems.base import System

SYSTEMS: Mapping[str, Callable[..., System]] = {
    'skeleton_autoencoder': skeleton.autoencoder,
    'skeleton_diffusion': skeleton.diffusion,
    'lambda_twin': lambda_twin.twin,
    'lambda_shared': lambda_baselines.shared_encoder,
    'lambda_cvae': lambda_baselines.cvae,
    'lambda_regressor': lambda_baselines.regressor,
    'lambda_cdcd': lambda_baselines.cdcd_like,
    'lambda_cmmd': lambda_baselines.cmmd_like,
    'imu_diffusion': imu.imu_diffusion,
    'momu_mel_vae': momu_vae.momu_mel_vae,
    'momu_motion_vae': momu_vae.momu_motion_vae,
    'momu_diffusion': momu.momu_diffusion,
}
