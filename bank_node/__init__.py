"""The program a bank runs beside its own data: the only place where data, keys and network meet.

``state`` and ``config`` say who this bank is, ``client`` speaks the aggregator's API, ``run_rules``
says what this bank agrees to. Data flow ``data_file`` -> ``columns`` -> ``data_contract`` ->
``training`` over ``secure_communicator`` -> ``scoring``. ``cli`` makes the command ``bank-node``.
"""
