"""Pages for an operator at a browser: runs, consortium, models, audit. Their data are the API's."""
