"""The command line, one module per command; each imports torch when it runs, so help and mistakes are instant."""
