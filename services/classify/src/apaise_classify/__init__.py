"""Classify: what a message is understood to be, by the house model or by its brand's own adapter."""
