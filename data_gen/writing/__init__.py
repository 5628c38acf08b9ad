"""From parts in any order to sorted files: spooled on disk, shared by workers, moved into place.

``workers`` run jobs, ``spool`` holds parts by time, ``table_files`` writes, ``tally`` and
``content`` count and digest on the way, ``target`` makes it all or nothing.
"""
