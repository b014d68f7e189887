"""What goes around any matcher: mirror, calibration, float32 fallback."""
