"""Hold the demo backbone: a small text-to-image latent diffusion model of emoji."""
