#!/usr/bin/python3
"""Makes the seeds of the checkpoint target that come from h5py, in the folder given. Parameters of zeros, packed, so
that a file of the smallest real model has a few KB."""
import sys
import zlib

import h5py
import numpy as np

folder = sys.argv[1] + "/"
d = 64
real = {"emb": (256, d), "head": (256, d), "ln_out": (d,)}
for name in ("Wf", "Uf", "Wh", "Uh"):
    real["layers.0." + name] = (d, d)
real["layers.0.W1"], real["layers.0.W2"] = (4 * d, d), (d, 4 * d)
for name in ("bf", "bh", "ln1", "ln2"):
    real["layers.0." + name] = (d,)
small = {"emb": (6, 4), "layers.10.Wf": (4, 3), "layers.2.Wf": (3, 5), "bias": (7,)}


def write(name, tensors, config="layers = 1\nwidth = 64\n", libver=None, **options):
    with h5py.File(folder + name, "w", libver=libver) as file:
        if config is not None:
            file.attrs["config"] = config
        for tensor, shape in tensors.items():
            data = np.arange(np.prod(shape)).reshape(shape) % 100 if tensors is small else np.zeros(shape)
            file.create_dataset("parameters/" + tensor, data=data, dtype="int8", **options)


write("h5py_old", small)
write("h5py_latest", small, libver="latest")
write("h5py_old_chunked", small, chunks=True, compression="gzip", shuffle=True, fletcher32=True)
write("h5py_fixed_text", small, config=np.bytes_("layers = 1\nwidth = 64\n"))
with h5py.File(folder + "model_packed", "w", libver="latest") as file:
    file.attrs["config"] = np.bytes_("layers = 1\nwidth = 64\n")
    for tensor, shape in real.items():
        file.create_dataset("parameters/" + tensor, data=np.zeros(shape), dtype="int8", chunks=shape, compression="gzip")
with h5py.File(folder + "h5py_floats", "w", libver="latest") as file:  # float_layout of the tests, as a stranger has it
    file.attrs["config"] = np.bytes_("task = quadratic\n")
    file.attrs["layout"] = np.bytes_("emb embedding none float32 5 3\nlayers.10.W matrix low_rank float32 4 3\n"
                                     "mask vector none int8 3 1\nlayers.2.W matrix full float32 2 5\n"
                                     "steps vector product int32 2 1\nbias vector full float32 7 1\n")
    for line in file.attrs["layout"].decode().splitlines():
        tensor, role, noise, element, rows, cols = line.split(" ")
        shape = (int(rows),) if role == "vector" else (int(rows), int(cols))
        file.create_dataset("parameters/" + tensor, data=np.ones(shape), dtype=element)
with h5py.File(folder + "h5py_doubles", "w", libver="latest") as file:
    file.attrs["config"] = np.bytes_("task = quadratic\n")
    file.create_dataset("parameters/W", data=np.ones((2, 3)), dtype=">f4")
    file.create_dataset("parameters/bias", data=np.ones(7), dtype="<f8")
with h5py.File(folder + "sparse", "w") as file:  # one piece of very many
    file.attrs["content_xxh3"] = np.bytes_("0" * 16)
    file.create_dataset("parameters/emb", shape=(2**40,), dtype="int8", chunks=(2**16,), compression="gzip")[0] = 1
with h5py.File(folder + "bomb", "w", libver="latest") as file:  # a small piece that unpacks to a large one
    data = file.create_dataset("parameters/emb", shape=(16,), dtype="int8", chunks=(16,), compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(4 << 20), 9))
with h5py.File(folder + "many_links", "w", libver="latest") as file:  # each holds the same bytes
    data = file.create_dataset("parameters/t0", data=np.zeros(2000), dtype="int8")
    for i in range(1, 30):
        file["parameters/t%d" % i] = data
