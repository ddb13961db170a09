"""Tokenizers from elsewhere, turned into the one form that we load."""
