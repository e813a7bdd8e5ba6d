"""The built-in corpus: made-up life stories whose true next-word distribution is known."""
