"""The Hugging Face Hub, asked from a child process."""
