"""Adapting the embedder to a user's own documents: mining pairs, training, an honest test, and taking over."""
