"""The process and its machine: what it may use, what it has used, and what was compiled for it.

``memory`` and ``threads`` say how much there is, ``usage`` what running programs took of it;
``native`` loads the compiled modules, ``hardening`` keeps what a process holds to itself.
"""
