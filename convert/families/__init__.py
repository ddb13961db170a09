"""Upstream's families of models: how they are told apart, and how their tensors become ours, as tables."""
