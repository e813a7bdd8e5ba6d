"""The command line, one module per command. torch is imported inside a command, so that help and mistakes are instant."""
