"""What a model is worth: perplexity of a corpus."""
