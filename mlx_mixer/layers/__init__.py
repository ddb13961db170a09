"""Layers of masked mixers.

Shape letters: B batch, L sequence length, S positions seen, D dims, H heads, V vocabulary, K taps.
"""
