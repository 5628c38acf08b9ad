/* The best numeric split of a node: numpy_engine.py and gain.py with the same casts.
 *
 * Sums are scanned as integers; each becomes a double once, and weights and gains are float or
 * double exactly where XGBoost has them so.
 */
#ifndef FRAUDFED_ENGINE_SPLIT_H
#define FRAUDFED_ENGINE_SPLIT_H

#include <math.h>

#include "_engine_arrays.h"

/* GainFormula's parameters and rules. */
typedef struct {
    double reg_lambda, reg_alpha, min_child_weight, max_delta_step;
    int light_nodes_weigh_nothing, children_need_hessian;
    int free_gain_in_closed_form, bounded_gain_in_float;
    int is_constrained;
} gain_formula;

typedef struct {
    int64_t gradient, hessian;
} integer_sums;

typedef struct {
    double gradient, hessian;
} node_sums;

typedef struct {
    float lower, upper;
} weight_bounds;

static integer_sums minus(integer_sums a, integer_sums b)
{
    /* Unsigned: NumPy wraps, C would be undefined. */
    return (integer_sums){(int64_t)((uint64_t)a.gradient - (uint64_t)b.gradient),
                          (int64_t)((uint64_t)a.hessian - (uint64_t)b.hessian)};
}

static integer_sums plus(integer_sums a, integer_sums b)
{
    return (integer_sums){(int64_t)((uint64_t)a.gradient + (uint64_t)b.gradient),
                          (int64_t)((uint64_t)a.hessian + (uint64_t)b.hessian)};
}

static node_sums to_double(integer_sums s)
{
    return (node_sums){(double)s.gradient * 0x1p-32, (double)s.hessian * 0x1p-32};
}

static double threshold(const gain_formula *formula, double gradient)
{
    double alpha = formula->reg_alpha;
    if (alpha == 0.0)
        return gradient;
    return gradient > alpha ? gradient - alpha : gradient < -alpha ? gradient + alpha : 0.0;
}

static float node_weight(const gain_formula *formula, node_sums s, weight_bounds bounds)
{
    int no_weight = s.hessian <= 0.0 || (formula->light_nodes_weigh_nothing &&
                                         s.hessian < formula->min_child_weight);
    float weight = 0.0f;
    if (!no_weight) {
        double exact = -threshold(formula, s.gradient) / (s.hessian + formula->reg_lambda);
        if (formula->max_delta_step != 0.0 && fabs(exact) > formula->max_delta_step)
            exact = copysign(formula->max_delta_step, exact);
        weight = (float)exact;
    }
    if (!formula->is_constrained)
        return weight;
    return weight < bounds.lower ? bounds.lower : weight > bounds.upper ? bounds.upper : weight;
}

static float closed_form(const gain_formula *formula, node_sums s)
{
    if (s.hessian <= 0.0)
        return 0.0f;
    double shrunk = threshold(formula, s.gradient);
    float numerator = (float)(shrunk * shrunk);
    float divisor = (float)(s.hessian + formula->reg_lambda);
    return numerator / divisor;
}

static float gain_at(const gain_formula *formula, node_sums s, float weight)
{
    if (s.hessian <= 0.0)
        return 0.0f;
    float squared = weight * weight;
    if (formula->bounded_gain_in_float) {
        float g = (float)s.gradient, h = (float)s.hessian;
        float linear = 2.0f * g * weight;
        return -(linear + (h + (float)formula->reg_lambda) * squared);
    }
    double w = weight;
    double loss = 2.0 * s.gradient * w + (s.hessian + formula->reg_lambda) * (double)squared;
    return (float)-(loss + 2.0 * formula->reg_alpha * fabs(w));
}

/* Summed gain of both sides; -inf if the weights of left and right are in the wrong order. */
static float split_gain(const gain_formula *formula, node_sums left, node_sums right,
                        weight_bounds bounds, int direction)
{
    if (!formula->is_constrained && formula->free_gain_in_closed_form)
        return closed_form(formula, left) + closed_form(formula, right);
    float left_weight = node_weight(formula, left, bounds);
    float right_weight = node_weight(formula, right, bounds);
    float gain = gain_at(formula, left, left_weight) + gain_at(formula, right, right_weight);
    if (formula->is_constrained && ((direction > 0 && !(left_weight <= right_weight)) ||
                                    (direction < 0 && !(left_weight >= right_weight))))
        return -INFINITY;
    return gain;
}

static int is_valid_child(const gain_formula *formula, node_sums s)
{
    return s.hessian >= formula->min_child_weight &&
           (!formula->children_need_hessian || s.hessian > 0.0);
}

/* The best candidate so far. */
typedef struct {
    float loss_change;
    int64_t feature, split_bin;
    int is_backward;
    integer_sums scanned, other;
} best_split;

typedef struct {
    const gain_formula *formula;
    weight_bounds bounds;
    integer_sums total;
    float node_gain;
} node_scan;

static void try_split(const node_scan *scan, best_split *best, integer_sums scanned, int64_t feature,
                      int64_t split_bin, int is_backward, int direction)
{
    integer_sums other = minus(scan->total, scanned);
    node_sums a = to_double(scanned), b = to_double(other);
    if (!is_valid_child(scan->formula, a) || !is_valid_child(scan->formula, b))
        return;
    float gain = split_gain(scan->formula, a, b, scan->bounds, direction);
    float loss_change = gain - scan->node_gain;
    /* Strictly larger: the first of equals stays. Neither infinity nor NaN ever wins. */
    if (loss_change > best->loss_change && isfinite(loss_change))
        *best = (best_split){loss_change, feature, split_bin, is_backward, scanned, other};
}

/* One feature: forward, and backward if the node has rows in which it is missing. */
static void scan_feature(const node_scan *scan, best_split *best, const int64_t *gradients,
                         const int64_t *hessians, int64_t n_bins, int64_t feature, int direction)
{
    integer_sums running = {0, 0};
    for (int64_t bin = 0; bin < n_bins; bin++) {
        running = plus(running, (integer_sums){gradients[bin], hessians[bin]});
        try_split(scan, best, running, feature, bin, 0, direction);
    }
    if (running.gradient == scan->total.gradient && running.hessian == scan->total.hessian)
        return;
    running = (integer_sums){0, 0};
    for (int64_t bin = n_bins - 1; bin >= 0; bin--) {
        running = plus(running, (integer_sums){gradients[bin], hessians[bin]});
        /* The scanned side is the right child here, so the direction turns round. */
        try_split(scan, best, running, feature, bin - 1, 1, -direction);
    }
}

/* best_numeric_split(histogram, offsets, features, directions, (gradient, hessian), node gain,
 *                    (lower, upper), (lambda, alpha, min child weight, max delta step),
 *                    rules)
 *
 * Return None or (loss change, feature, split bin, is backward, scanned gradient and hessian,
 * other gradient and hessian).
 */
static PyObject *best_numeric_split(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[4], *result = NULL;
    gain_formula formula;
    node_scan scan = {.formula = &formula};
    best_split best = {.loss_change = 0.0f, .feature = -1};
    long long gradient, hessian;
    array held[4] = {0};
    array *histogram = &held[0], *offsets = &held[1], *features = &held[2], *directions = &held[3];
    if (!PyArg_ParseTuple(arguments, "OOOO(LL)f(ff)(dddd)(ppppp):best_numeric_split", &objects[0],
                          &objects[1], &objects[2], &objects[3], &gradient, &hessian,
                          &scan.node_gain, &scan.bounds.lower, &scan.bounds.upper,
                          &formula.reg_lambda, &formula.reg_alpha, &formula.min_child_weight,
                          &formula.max_delta_step,
                          &formula.light_nodes_weigh_nothing, &formula.children_need_hessian,
                          &formula.free_gain_in_closed_form, &formula.bounded_gain_in_float,
                          &formula.is_constrained))
        return NULL;
    scan.total = (integer_sums){gradient, hessian};
    if (!get_array(objects[0], histogram, (array_type){"histogram", SIGNED_INTEGER, 8, 2, 0, 0}) ||
        !get_array(objects[1], offsets, (array_type){"offsets", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[2], features, (array_type){"features", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[3], directions, (array_type){"directions", SIGNED_INTEGER, 1, 1, 0, 0}))
        goto done;
    size_t n_features = extent(directions, 0), n_bins = extent(histogram, 1);
    const int64_t *start = offsets->view.buf, *feature = features->view.buf;
    const int8_t *direction = directions->view.buf;
    if (!check_extent(histogram, "histogram", 0, 2) || !check_offsets(offsets, n_features) ||
        !check_extent(histogram, "histogram", 1, (size_t)start[n_features]) ||
        !check_features(features, n_features))
        goto done;
    const int64_t *gradients = histogram->view.buf, *hessians = gradients + n_bins;
    Py_BEGIN_ALLOW_THREADS
    for (size_t k = 0; k < extent(features, 0); k++) {
        int64_t f = feature[k];
        scan_feature(&scan, &best, gradients + start[f], hessians + start[f], start[f + 1] - start[f],
                     f, direction[f]);
    }
    Py_END_ALLOW_THREADS
    if (best.feature < 0)
        result = Py_NewRef(Py_None);
    else
        result = Py_BuildValue(
            "fLLO(LL)(LL)", best.loss_change, (long long)best.feature, (long long)best.split_bin,
            best.is_backward ? Py_True : Py_False, (long long)best.scanned.gradient,
            (long long)best.scanned.hessian, (long long)best.other.gradient,
            (long long)best.other.hessian);
done:
    release_arrays(held, 4);
    return result;
}

#endif
