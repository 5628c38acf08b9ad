"""The log of everything that left this bank: checked, compared, explained."""
