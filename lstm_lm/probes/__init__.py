"""Probes measure what a model remembers: questions about one word, asked at growing distances."""
