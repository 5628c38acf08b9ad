"""Who and what exists before anything happens: banks, places, payees, customers, devices.

Towns, merchants, terminals and payees are shared by all banks; customers and their devices are
private to one bank. All entities are functions of the configuration alone, so any process can
make them again instead of receiving them.
"""
