"""What this bank agrees to before it contributes, whatever the aggregator says.

``partners`` decides with whom it computes, ``epoch_check`` under which key, ``pinning`` that the
run stays the one it first saw. ``facts`` is what all banks must have been told alike. The run's
parameters are held against the bank's rules by its job: ``bank_node.run.job.Job.accept``, for a
training ``bank_node.jobs.training.check_run``.
"""
