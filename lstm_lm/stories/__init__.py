"""The built-in corpus: made-up life stories whose exact next-word distribution is known."""
