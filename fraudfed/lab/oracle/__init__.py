"""Stock XGBoost as the reference: on pooled rows, and tree by tree."""
