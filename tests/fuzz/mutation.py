"""Damage a file as hostile hands and broken disks do."""

from __future__ import annotations

from random import Random

# Where the seeds' headers lie, and the part of them that says most: data has little to say.
_HEADER_BYTES = 16_000
_FIRST_BYTES = 1_500

_BYTES = bytes([0, 1, 2, 0x20, 0x22, 0x2C, 0x7B, 0x7D, 0x7F, 0x80, 0xC3, 0xFF])
_NUMBERS = [
    0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 31, 32, 33, 64, 255, 256, 257, 1000, 65535, 65536, 2**24, 2**30,
    2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**33, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1,
]  # fmt: skip


def mutate(data: bytes, other: bytes, rng: Random) -> bytes:
    """Return a copy with one to four mutations, or with many wrong weights; `other` lends pieces."""
    damaged = bytearray(data)
    if len(data) > _HEADER_BYTES and rng.random() < 0.2:
        _spoil_weights(damaged, rng)
        return bytes(damaged)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.1:
            _lend(damaged, other, rng)
        else:
            rng.choice(_MUTATIONS)(damaged, rng)
    return bytes(damaged)


def _spoil_weights(data: bytearray, rng: Random) -> None:
    """Leave the header sound, so that the engine meets infinite scales and the like."""
    for _ in range(rng.choice((1, 30, 1000))):
        place = rng.randrange(_HEADER_BYTES, len(data) - 1)
        data[place : place + 2] = rng.choice((b"\x00\x7c", b"\xff\x7f", b"\xff\xff", rng.randbytes(2)))


def _place(data: bytes | bytearray, rng: Random) -> int:
    span = min(len(data), rng.choice((_FIRST_BYTES, _HEADER_BYTES, len(data))))
    return rng.randrange(span) if span else 0


def _flip_bit(data: bytearray, rng: Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice(_BYTES)


def _set_number(data: bytearray, rng: Random) -> None:
    place, size = _place(data, rng), rng.choice((4, 8))
    number = rng.choice([*_NUMBERS, len(data), len(data) - place])
    data[place : place + size] = (number % (1 << 8 * size)).to_bytes(size, "little")


def _add_to_number(data: bytearray, rng: Random) -> None:
    place = _place(data, rng)
    number = int.from_bytes(data[place : place + 8], "little") + rng.choice((-32, -1, 1, 32))
    data[place : place + 8] = (number % 2**64).to_bytes(8, "little")


def _cut_off(data: bytearray, rng: Random) -> None:
    del data[_place(data, rng) :]


def _append(data: bytearray, rng: Random) -> None:
    data += rng.randbytes(rng.choice((1, 7, 32, 1000)))


def _delete(data: bytearray, rng: Random) -> None:
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 4, 8, 32, 100))]


def _repeat(data: bytearray, rng: Random) -> None:
    place = _place(data, rng)
    data[place:place] = data[place : place + rng.choice((1, 8, 32, 100))] * rng.choice((1, 2, 50))


def _lend(data: bytearray, other: bytes, rng: Random) -> None:
    source, place, size = _place(other, rng), _place(data, rng), rng.choice((4, 8, 24, 100))
    data[place : place + size] = other[source : source + size]


def _set_digits(data: bytearray, rng: Random) -> None:
    """Change a number that is spelt in JSON."""
    digits = [i for i in range(min(len(data), _FIRST_BYTES)) if 0x30 <= data[i] <= 0x39]
    if digits:
        place = rng.choice(digits)
        data[place : place + 1] = str(rng.choice(_NUMBERS)).encode()


_MUTATIONS = (
    _flip_bit,
    _set_byte,
    _set_number,
    _add_to_number,
    _cut_off,
    _append,
    _delete,
    _repeat,
    _set_digits,
)
