"""From a model and tokens to a trained model: the loop, its optimisers, its checkpoints and its log."""
