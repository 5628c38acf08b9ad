"""What exists before the first transaction: banks, places, payees, customers, devices.

All banks share towns, merchants, terminals and payees. A customer is private to one bank, even if
the same person has other banks. All entities are functions of the configuration alone, so any
process can make them again instead of receiving them.
"""
