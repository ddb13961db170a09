"""Back to upstream's own files."""
