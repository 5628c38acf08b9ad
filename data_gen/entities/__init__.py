"""Who and what exists before anything happens: banks, places, payees, customers, devices.

Towns, merchants, terminals and payees are shared by all banks; customers are private to one bank,
also where the person behind them has other banks. All entities are functions of the configuration
alone, so any process can make them again instead of receiving them.
"""
