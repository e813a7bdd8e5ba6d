"""What a model is worth: perplexity of a corpus, and what it remembers over a distance."""
