"""What each kind of model is for, as the Hub and people name it."""

# model_type -> (the Hub's task, what it does)
TASKS: dict[str, tuple[str, str]] = {
    "language_mixer": ("text-generation", "continues text"),
    "autoencoding_mixer": ("feature-extraction", "encodes a text into one vector and decodes it again"),
    "retrieval_mixer": ("sentence-similarity", "scores the embeddings of passages against that of a query"),
    "bidirectional_mixer": ("fill-mask", "mixes positions in both directions"),
}


def card_head(task: str, base_model: str | None = None) -> str:
    """The YAML head of a model card.

    Args:
        task: The Hub's task.
        base_model: `owner/name` on the Hub that it was made from.
    """
    lines = ["---", "library_name: mlx", f"pipeline_tag: {task}", "tags:", "- mlx", "- mlx-mixer", "- masked-mixer"]
    if base_model:
        lines += [f"base_model: {base_model}", "base_model_relation: finetune"]
    return "\n".join([*lines, "---\n"])
