"""log and cos as worker/control/elementary.hpp has them: the same operations of doubles in the same
order, so the same bits. For finite arguments that episode_random.py has: x > 0 of log, |x| < 2**20 of
cos."""

import math
import struct

_LOG2, _LOG2_REST = float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")
_TO_INTEGER = 1.5 * 2.0**52
_PIECES = [
    float.fromhex(piece)
    for piece in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2ep-69", "0x1.b839a252049c1p-104")
]
_SINE = [(-1) ** (i + 1) / float(math.factorial(2 * i + 3)) for i in range(8)]
_COSINE = [(-1) ** i / float(math.factorial(2 * i + 4)) for i in range(7)]
_LOGARITHM = [2.0 / (2 * i + 3) for i in range(10)]
_ROOT_OF_HALF = 0x3FE6A09E667F3BCD


def _polynomial(c, z):
    if len(c) == 1:
        return c[0]
    half, power = 1, z
    while 2 * half < len(c):
        half, power = 2 * half, power * power
    return _polynomial(c[:half], z) + power * _polynomial(c[half:], z)


def _bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def log(x):
    above = _bits(x) - _ROOT_OF_HALF
    n = float(above >> 52)
    f = struct.unpack("<d", struct.pack("<Q", _ROOT_OF_HALF + (above & (2**52 - 1))))[0] - 1
    s = f / (2 + f)
    square, half = s * s, 0.5 * f * f
    terms = square * _polynomial(_LOGARITHM, square)
    whole = n * _LOG2
    total = whole + f
    return total + (((whole - total) + f) + ((n * _LOG2_REST - half) + s * (half + terms)))


def _reduced(x):
    shifted = x * float.fromhex("0x1.45f306dc9c883p-1") + _TO_INTEGER
    n = shifted - _TO_INTEGER
    a, b, c = x - n * _PIECES[0], n * -_PIECES[1], n * -_PIECES[2]
    ab = a + b
    b_in = ab - a
    ab_rest = (a - (ab - b_in)) + (b - b_in)
    abc = ab + c
    c_in = abc - ab
    abc_rest = (ab - (abc - c_in)) + (c - c_in)
    rest = ab_rest + abc_rest - n * _PIECES[3]
    angle = abc + rest
    return angle, (abc - angle) + rest, _bits(shifted) % 4


def cos(x):
    angle, rest, quarters = _reduced(x)
    square = angle * angle
    if quarters % 2 == 0:
        half = 0.5 * square
        terms = square * square * _polynomial(_COSINE, square)
        total = 1 - half
        size = total + (((1 - total) - half) + (terms - angle * rest))
    else:
        terms = angle * square * _polynomial(_SINE, square)
        size = angle + (terms + rest * (1 - 0.5 * square))
    return size if (quarters + 1) % 4 < 2 else -size
