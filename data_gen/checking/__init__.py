"""Check any data set against a published schema, in flat memory.

``table_reader`` reads row group by row group, ``unique_ids`` finds what repeats, ``validator``
names the first faults.
"""
