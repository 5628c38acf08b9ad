"""The commands of ``data-gen``, one module per thing that is done with a data set."""
