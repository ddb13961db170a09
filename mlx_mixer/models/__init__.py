"""Model classes, one per kind of config."""
