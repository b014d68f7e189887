"""Methods: each describes points of one image and locates them in others."""
