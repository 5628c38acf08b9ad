"""A contract's rows out of a file: plain tables and raw transactions, checked to the cell.

Bank node and demo call the same functions here, so what one of them reads the other reads too, and
what one refuses the other refuses with the same words.
"""
