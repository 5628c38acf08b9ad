"""``fraudfed bench scale``: one training at several numbers of rows, beyond what memory holds."""
