"""Pieces of screens: they show what they are given and post what the user meant. None knows engine or library."""
