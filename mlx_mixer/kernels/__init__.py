"""The two products everything rests on, each as one call with a plain-MLX form."""
