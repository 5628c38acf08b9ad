"""From parts in any order to sorted files, in flat memory.

Workers make parts of the world (``making``): processes (``workers``) or those of a Dask cluster
(``dask_pool``). Each part is kept on disk by time (``spool``) and written sorted (``table_files``),
in one piece or by days (``partitions``); rows are counted and digested on the way (``tally``,
``content``). ``target`` publishes the directory whole or not at all. ``output`` puts these steps
in order and ``manifest`` says what was made.
"""
