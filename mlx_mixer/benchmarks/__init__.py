"""Measurements of this machine: medians over rounds, ratios within one run, never asserted in a test."""
