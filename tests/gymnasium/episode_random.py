"""The chance of an episode as worker/control/episode_random.hpp has it, in the place of the np_random of
a Gymnasium environment: the same seed gives the same numbers in the same order, so the same start."""

import math

import numpy

import elementary


def philox4x32(counter, key):
    """A block of four words of Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011)."""
    c, (key0, key1) = list(counter), key
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (product1 >> 32) ^ c[1] ^ key0,
            product1 & 0xFFFFFFFF,
            (product0 >> 32) ^ c[3] ^ key1,
            product0 & 0xFFFFFFFF,
        ]
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


class EpisodeRandom:
    def __init__(self, seed):
        self.key = seed & 0xFFFFFFFF, seed >> 32
        self.drawn = 0

    def _uniform(self):
        block, half = divmod(self.drawn, 2)
        self.drawn += 1
        words = philox4x32([block & 0xFFFFFFFF, block >> 32, 0, 0], self.key)[2 * half :]
        return float((words[0] >> 5) << 26 | words[1] >> 6) * 2.0**-53

    def _normal(self):
        size, direction = self._uniform(), self._uniform()
        return math.sqrt(-2 * elementary.log(1 - size)) * elementary.cos(2 * math.pi * direction)

    def _array(self, draw, size):
        if size is None:
            return draw()
        return numpy.array([draw() for _ in range(int(numpy.prod(size)))]).reshape(size)

    # From here on, what numpy.random.Generator offers under these names.

    def random(self, size=None):
        return self._array(self._uniform, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        if size is None and numpy.ndim(low) + numpy.ndim(high) > 0:
            size = numpy.broadcast_shapes(numpy.shape(low), numpy.shape(high))
        return low + (high - low) * self.random(size)

    def standard_normal(self, size=None):
        return self._array(self._normal, size)

    def normal(self, loc=0.0, scale=1.0, size=None):
        return loc + scale * self.standard_normal(size)

    def integers(self, low, high=None, size=None):
        """low + floor((high - low) u), each of one number u in [0, 1)."""
        low, high = (0, low) if high is None else (low, high)
        drawn = numpy.floor((high - low) * self.random(size))
        return low + (int(drawn) if size is None else drawn.astype(numpy.int64))
