"""The toy world: drawings with exact annotations, and the small diffusion model that knows them."""
