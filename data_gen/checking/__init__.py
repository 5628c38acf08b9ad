"""Hold any data set against a published schema, in flat memory.

``rules`` are what a column may hold, ``schemas`` has them by kind of table, ``table_reader`` reads
row group by row group, ``unique_ids`` finds what repeats, ``validator`` names the first faults.
"""
