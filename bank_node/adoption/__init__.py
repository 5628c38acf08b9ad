"""A finished run for a bank that took no part in it: the members share it, the bank adopts it.

``content`` is what travels, ``sharing`` makes it at a member, ``verify`` holds it against the
newcomer's own roster, ``setting_up`` finds a threshold on its payments, ``adopt`` keeps it all.
"""
