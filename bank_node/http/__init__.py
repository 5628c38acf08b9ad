"""HTTP as a bank uses it: signed, logged, repeated. The bank calls; nothing calls it."""
