"""XGBoost's histogram algorithm, written once for one table, against ``Communicator.sum``.

Data flows: ``params`` -> ``table`` -> ``cuts`` -> ``bins`` -> ``objective`` -> ``sampling`` ->
``histogram`` -> ``split`` -> ``grower`` -> ``tree`` -> ``metrics`` -> ``model``;
``train`` joins them.
"""
