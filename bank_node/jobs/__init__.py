"""What banks compute together: one module or room for each kind of run.

``registry`` names the job of each kind; ``bank_node.run.job`` says what a job is.
"""
