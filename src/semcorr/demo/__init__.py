"""Runs that show the method at work on images whose truth is known: drawings that come along, and photographs."""
