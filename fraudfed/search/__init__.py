"""Parameters chosen over the rows of all banks: many candidates that grow in lockstep."""
