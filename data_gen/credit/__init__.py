"""Credit applications of several banks, with the default as label, for credit scoring.

Data flow, one noun per module::

    config -> people -> applications -> outcomes -> table -> output

It shares the files, the manifest and the validator with the transactions of ``data_gen``.
Every person and loan in the output is invented. Creditworthiness of natural persons is a high-risk
use under Annex III, point 5(b), of Regulation (EU) 2024/1689 (the EU AI Act).
"""
