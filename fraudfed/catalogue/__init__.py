"""What everybody may know before any data are read: columns, features and codes; no numerics."""
