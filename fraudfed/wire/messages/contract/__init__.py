"""What every bank's data must look like: ``data_contract``, and the parts that it is made of."""
