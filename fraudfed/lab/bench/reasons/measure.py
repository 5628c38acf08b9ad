"""True alerts of a world, their reasons, and whether a planted cause is among the first two."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xgboost

from fraudfed.boosting.model import ALL_STATISTICS_BITS, Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.presets import find_preset
from fraudfed.catalogue.recipes import contract_features
from fraudfed.dtypes import Float32Array, Float64Array, IndexArray
from fraudfed.lab.bench.reasons.causes import PLANTED_CAUSES
from fraudfed.lab.bench.reasons.result import Distortion, KindFigures, WorldFigures
from fraudfed.lab.bench.reasons.worlds import WorldRows
from fraudfed.lab.oracle.references import matrix_of
from fraudfed.lab.oracle.same_trees import quantile_matrix, xgboost_parameters
from fraudfed.parameters import BoosterParams
from fraudfed.reasons import Catalogue, group_sums, ranked
from fraudfed.wire.messages import DataContract

#: A cause counts as named among so many first reasons.
_FIRST_REASONS = 2
#: How many phrases of each kind are listed.
_COMMON_PHRASES = 5


def measure(
    rows: WorldRows, *, preset: str, recipe: str, alert_share: float, threads: int
) -> WorldFigures:
    """Train stock XGBoost on what is known, and explain the alerts among later payments.

    Contributions are those of the model as a run publishes it, with rounded node statistics.

    Parameters
    ----------
    rows : WorldRows
    preset, recipe : str
        Where they are from.
    alert_share : float
        Of later payments: so many with the highest scores are alerts.
    threads : int
    """
    model = _trained(rows, threads=threads)
    contract = DataContract(
        kind="transactions", features=contract_features(recipe, shared=True), recipe=recipe
    )
    catalogue = Catalogue.of(contract)
    published = BoosterParams().statistics_bits
    margins, alerts, sums = _explained(
        replace(model, statistics_bits=published), rows, catalogue, alert_share, threads=threads
    )
    _, _, exact = _explained(
        replace(model, statistics_bits=ALL_STATISTICS_BITS),
        rows,
        catalogue,
        alert_share,
        threads=threads,
    )
    kinds = rows.kinds[alerts]
    causes = PLANTED_CAUSES[recipe]
    return WorldFigures(
        preset=preset,
        recipe=recipe,
        rows_trained=rows.train.n_rows,
        later=len(rows.later),
        alerts=len(alerts),
        true_alerts=int(np.count_nonzero(kinds != "")),
        by_kind=tuple(
            _of_kind(kind, sums[kinds == kind], catalogue, causes)
            for kind in sorted(causes)
            if (kinds == kind).any()
        ),
        largest_gap=float(np.abs(margins).max()),
        distortion=_distortion(published, sums, exact),
    )


def _trained(rows: WorldRows, *, threads: int) -> Model:
    settings = dict(find_preset("fraud").parameters)
    rounds, max_bin = int(settings.pop("num_boost_round")), int(settings["max_bin"])
    booster = xgboost.train(
        xgboost_parameters(settings, threads=threads),
        quantile_matrix(rows.train, max_bin=max_bin, threads=threads),
        rounds,
    )
    return read_model(bytes(booster.save_raw("json")), schema=rows.schema, source="xgboost")


def _explained(
    model: Model,
    rows: WorldRows,
    catalogue: Catalogue,
    alert_share: float,
    *,
    threads: int,
) -> tuple[Float64Array, IndexArray, Float64Array]:
    """Return how far contributions miss the margin, which rows alert, and sums by phrase."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(model.to_json()))
    margins = booster.predict(_matrix(rows.schema, rows.later, threads), output_margin=True)
    count = max(1, round(alert_share * len(margins)))
    alerts = np.argsort(-margins, kind="stable")[:count]
    contributions = booster.predict(
        _matrix(rows.schema, rows.later[alerts], threads), pred_contribs=True
    )
    missed = contributions.astype(np.float64).sum(axis=1) - margins[alerts]
    return missed, alerts, group_sums(contributions, catalogue)


def _matrix(schema: FeatureSchema, values: Float32Array, threads: int) -> xgboost.DMatrix:
    table = TrainingTable(schema, values, np.zeros(len(values), dtype=np.float32))
    return matrix_of(table, threads=threads)


def _of_kind(
    kind: str,
    sums: Float64Array,
    catalogue: Catalogue,
    causes: Mapping[str, frozenset[str]],
) -> KindFigures:
    codes = [phrase.code for phrase in catalogue.phrases]
    planted = np.array([code in causes[kind] for code in codes])
    first = [[codes[group] for group in ranked(row)[:_FIRST_REASONS]] for row in sums]
    common = Counter(code for named in first for code in named)
    return KindFigures(
        kind=kind,
        true_alerts=len(sums),
        planted=tuple(sorted(causes[kind])),
        named=float(np.mean([bool(causes[kind] & set(named)) for named in first])),
        named_first=float(np.mean([bool(causes[kind] & set(named[:1])) for named in first])),
        by_chance=float(np.mean([_by_chance(row > 0, planted) for row in sums])),
        phrases=dict(common.most_common(_COMMON_PHRASES)),
    )


def _by_chance(raises: np.ndarray, planted: np.ndarray) -> float:
    """Return how often two groups, drawn from those that raise the score, name a cause."""
    n_raise = int(np.count_nonzero(raises))
    n_others = n_raise - int(np.count_nonzero(raises & planted))
    drawn = min(_FIRST_REASONS, n_raise)
    return 1.0 - math.comb(n_others, drawn) / math.comb(n_raise, drawn)


def _distortion(bits: int, sums: Float64Array, exact: Float64Array) -> Distortion:
    both = [
        (ranked(ours)[:_FIRST_REASONS], ranked(theirs)[:_FIRST_REASONS])
        for ours, theirs in zip(sums, exact, strict=True)
    ]
    off = np.abs(sums - exact)
    raised = np.maximum(np.where(exact > 0, exact, 0.0).sum(axis=1), 1e-9)
    return Distortion(
        statistics_bits=bits,
        median_share=float(np.median(off.max(axis=1) / raised)),
        largest_share=float((off.max(axis=1) / raised).max()),
        same_first=float(np.mean([a[:1] == b[:1] for a, b in both])),
        same_first_two=float(np.mean([set(a) == set(b) for a, b in both])),
    )
