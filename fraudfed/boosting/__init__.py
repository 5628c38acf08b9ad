"""XGBoost's histogram algorithm over the rows of all banks, tree for tree.

It is written once, for one table, against ``Communicator.sum``: with ``SoloCommunicator`` it trains
on one machine. Law: the model depends on the parameters and on the pooled rows only, not on how
the rows are split over banks, on the engine, or on the number of threads.

Data flows from top to bottom:

* ``table``: the rows of one bank; what is asked for are ``fraudfed.parameters``;
* ``shard``: these rows wherever they lie, in one part or many; all that follows reaches them
  through ``shard.protocol`` and holds no array of rows;
* ``cuts``, ``bins``: public bin edges, and the rows as bin numbers;
* ``objective``, ``sampling``: gradients in fixed point, and which rows and columns a tree uses;
* ``histograms``: sums of gradients per bin, of this bank and over all banks; ``bounds`` says how
  large such a sum can be, from what is public;
* ``splits``, ``gain``, ``xgboost_rules``: the best split of a node, by XGBoost's rules;
* ``growth``, ``tree``: nodes are split until the tree has grown;
* ``metrics``, ``model``: pooled validation metrics, and the trees as XGBoost's bytes;
* ``train`` joins all of these, and ``resume`` holds its state between two trees.

All work on rows of this machine goes through an ``engine``: compiled kernels, or NumPy with the
same bytes.

A user of the library needs ``train.train``, which takes ``fraudfed.parameters.BoosterParams`` and a
``table.TrainingTable`` with its ``table.FeatureSchema`` (these four are names of ``fraudfed``, too)
and returns a ``train.TrainResult`` with the ``model.Model``; ``resume.state.TrainingState`` is what
``train`` continues from. Nothing is imported here, so that a program loads only what it uses.
"""
