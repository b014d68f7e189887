"""Frozen networks: their weights, devices and memory."""
