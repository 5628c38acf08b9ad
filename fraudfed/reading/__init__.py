"""How rows come in: CSV and Parquet files, their cells as numbers and texts, and what is wrong.

Bank node, demo, plain tables, transactions and mappings read files by this code only, so that the
same file means the same to all of them, and is refused by all of them with the same words.

``file_format`` says how a CSV file is written, ``file`` reads columns, ``cells`` turns them into
numbers and texts, and ``problems`` collects every fault, with file, row, line and column.
"""
