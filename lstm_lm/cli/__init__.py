"""The commands, one module each: read arguments, call one function of the library, print."""
