"""The powers that cost all the time: by GMP everywhere, by AVX-512 IFMA where a CPU has it.

All kernels give the same bytes. They compute; they hold no key and draw no randomness.
"""
