"""The endpoints, one file per noun: ``declare`` says what one is, ``handle`` enforces it."""
