"""Laws of seals (any changed bit is noticed) and of files written together (none is torn)."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_lm.errors import DiskError
from lstm_lm.files.atomic import write_atomically, write_together
from lstm_lm.files.seal import (
    UNSEALED,
    digest,
    digest_of_files,
    is_intact,
    sealed,
    write_sealed,
)

CONTENT = b'{"checksum": "' + UNSEALED.encode() + b'", "and": "more"}'


def intact(content):
    return is_intact(io.BytesIO(content))


def test_every_bit_counts():
    content = sealed(CONTENT)
    assert intact(content) and not intact(CONTENT) and len(content) == len(CONTENT)
    for place in range(len(content)):
        assert not intact(content[:place])
        for bit in range(8):
            assert not intact(
                content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            )
    assert not intact(content + b" ") and not intact(b"")


def test_it_is_the_checksum_of_the_whole_with_zeros_in_its_place():
    assert digest(CONTENT).encode() in sealed(CONTENT)
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb924"  # SHA-256 of nothing, its first half


def test_the_checksum_of_files_is_that_of_their_joined_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("lstm_lm.files.seal._BLOCK", 7)
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"x" * 20, b"", b"yz"), strict=True):
        path.write_bytes(content)
    assert digest_of_files(*paths) == digest(b"x" * 20 + b"yz")
    assert digest_of_files(*reversed(paths)) == digest(b"yz" + b"x" * 20)


@given(st.lists(st.binary(max_size=50)))
def test_written_in_parts_is_the_same_as_whole(parts):
    file = io.BytesIO()
    write_sealed(file, [CONTENT, *parts])
    assert file.getvalue() == sealed(CONTENT + b"".join(parts)) and intact(file.getvalue())


def test_a_file_longer_than_a_block(monkeypatch):
    monkeypatch.setattr("lstm_lm.files.seal._BLOCK", 64)
    content = sealed(CONTENT + b"x" * 1000)
    assert intact(content) and not intact(content[:-1] + b"y")


def test_no_file_is_replaced_before_all_that_belong_together_are_written(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    write_together({path: "old" for path in paths})

    def fails(file):
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(DiskError, match="b: could not be written"):
        write_together({paths[0]: "new", paths[1]: fails, paths[2]: "new"})
    assert [path.read_text() for path in paths] == ["old"] * 3 and len(
        list(tmp_path.iterdir())
    ) == 3


def test_a_link_is_replaced_not_written_through(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "elsewhere").read_text() == "precious" and (
        tmp_path / "link"
    ).read_text() == "new"
    assert oct(os.stat(tmp_path / "link").st_mode & 0o111) == "0o0"
