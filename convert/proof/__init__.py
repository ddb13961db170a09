"""Proof that a converted model equals its source."""
