"""What ``bank-node check-data`` says of a file: a report of sections, each in a module."""
