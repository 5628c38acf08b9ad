"""The aggregator: an HTTP service that multiplies ciphertexts and keeps runs and models.

It sees ciphertexts, digests and public facts; it imports nothing that could open or make sense of
a sum. ``create_app`` in ``app`` is the Flask factory, ``run_machine`` the pure life of a run.
"""
