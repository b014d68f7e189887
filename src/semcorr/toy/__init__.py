"""The toy world: drawings with exact truth, and a small diffusion model trained on them."""
