"""The program a bank runs beside its own data: the only place where data, keys and network meet.

``cli`` and ``commands`` make the command ``bank-node``. ``jobs`` are the kinds of work that banks
do together, and ``run`` takes a bank through a run of any kind: ``run.agreement`` says what the
bank agrees to, ``run.sums`` seals and opens the sums. ``consortium`` makes the bank a member,
``http`` speaks to the aggregator, ``data`` reads the bank's files, ``state`` is what the bank
keeps, ``audit`` explains what left it, and ``serving`` scores with the model.
"""
