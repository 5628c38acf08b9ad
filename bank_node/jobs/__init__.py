"""What banks compute together: one module for each kind of run."""
