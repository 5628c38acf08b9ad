"""From parts in any order to sorted files, in flat memory.

Workers make parts of the world (``workers``). Each part is kept on disk by time (``spool``) and
written sorted (``table_files``); rows are counted and digested on the way (``tally``, ``content``).
``target`` publishes the directory whole or not at all. ``output`` puts these steps in order and
``manifest`` says what was made.
"""
