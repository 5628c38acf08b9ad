"""The powers that cost all the time: by GMP everywhere, in C where a CPU has the instructions.

All kernels give the same bytes. They compute; they hold no key and draw no randomness.
"""
