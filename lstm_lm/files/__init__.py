"""Files on disk: written whole or not at all, with checksums inside, and never unpickled."""
