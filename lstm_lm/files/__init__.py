"""Safe files on disk: written whole or not at all, with a checksum inside, and never unpickled.

- `outputs`: decides what may be written;
- `atomic`: replaces a file, or several that belong together, in one step;
- `seal`: checksums, and files that hold their own;
- `tensors`: named tensors in safetensors files, checked before they are read;
- `cache`: folders of work that is done once and kept, such as encoded corpora;
- `private`, `libraries`: what belongs to this user alone; compiled code that is kept;
- `packaged`: the word lists and probe suites that are installed with the package;
- `pictures`: fonts, and how a figure is written.
"""
