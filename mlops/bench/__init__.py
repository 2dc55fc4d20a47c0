"""Figures of this machine, side by side."""
