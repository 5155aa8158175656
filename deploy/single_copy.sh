#!/usr/bin/env bash
# Whether a process may read another's memory here, as Open MPI's single copy does: exit code 1 where it is refused. It is tried,
# from a process on its child; where there is no Python to try it with it counts as allowed.
trial='
import ctypes, os, signal, sys

class Range(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]

read = ctypes.CDLL(None).process_vm_readv
read.restype = ctypes.c_ssize_t
read.argtypes = [ctypes.c_int] + 2 * [ctypes.POINTER(Range), ctypes.c_ulong] + [ctypes.c_ulong]
there, here = ctypes.create_string_buffer(b"there"), ctypes.create_string_buffer(5)
child = os.fork()
if child == 0:
    signal.pause()
copied = read(child, Range(ctypes.addressof(here), 5), 1, Range(ctypes.addressof(there), 5), 1, 0)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
sys.exit(0 if copied == 5 else 10)
'
for python in /usr/bin/python3 python3; do
  command -v "$python" >/dev/null || continue
  "$python" -c "$trial" 2>/dev/null
  [[ $? -ne 10 ]]
  exit
done
