/* Multinomial draws over counted cells, and the interval of what was computed from them. */
#include "common/base/mem.h"
#include "worker/eval/eval_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Drawing a sample costs about 2 ns, splitting a cell about 70. */
#define SAMPLES_PER_CELL_TO_SPLIT 32

/* Heads among flips of a fair coin: one bit each. */
static uint64_t heads(struct stream *r, uint64_t flips)
{
    uint64_t total = 0;
    for (; flips >= 64; flips -= 64) {
        total += (unsigned)__builtin_popcountll(eval__word(r));
    }
    if (flips > 0) {
        total += (unsigned)__builtin_popcountll(eval__word(r) >> (64 - flips));
    }
    return total;
}

/*
 * Each trial owns a uniform number u and succeeds when u < part/whole. Only one binary digit of all
 * the u is drawn at a time: where the digit differs from that of part/whole the trial is decided,
 * the others go on with the next digit. About trials/32 words in all.
 */
uint64_t eval__binomial(struct stream *r, uint64_t trials, uint64_t part, uint64_t whole)
{
    uint64_t hits = 0;
    while (trials > 0 && part > 0) {
        if (part >= whole) {
            return hits + trials;
        }
        uint64_t low = heads(r, trials); /* trials with u < 1/2 */
        part *= 2;
        if (part <= whole) {
            trials = low;
        } else {
            hits += low;
            trials -= low;
            part -= whole;
        }
    }
    return hits;
}

static void fill_cell_of(struct resampler *s)
{
    for (size_t i = 0; i < s->cells; i++) {
        for (uint64_t at = s->upto[i]; at < s->upto[i + 1]; at++) {
            s->cell_of[at] = (uint32_t)i;
        }
    }
}

int eval__resampler_init(struct resampler *s, const uint64_t *counts, size_t cells,
                         struct err_buf *e)
{
    *s = (struct resampler){.cells = cells};
    s->drawn = mem_new_array(cells, sizeof(*s->drawn));
    s->upto = mem_new_array(cells + 1, sizeof(*s->upto));
    if (!s->drawn || !s->upto) {
        goto close;
    }
    for (size_t i = 0; i < cells; i++) {
        s->upto[i + 1] = s->upto[i] + counts[i];
    }
    if (s->upto[cells] < (uint64_t)cells * SAMPLES_PER_CELL_TO_SPLIT) {
        s->cell_of = mem_new_array(s->upto[cells], sizeof(*s->cell_of));
        if (!s->cell_of) {
            goto close;
        }
        fill_cell_of(s);
    }
    return 0;
close:
    eval__resampler_close(s);
    return err_set(e, ERR_NOMEM, "no memory for resampling %zu cells", cells);
}

void eval__resampler_close(struct resampler *s)
{
    mem_free(s->drawn);
    mem_free(s->upto);
    mem_free(s->cell_of);
    *s = (struct resampler){0};
}

/* Spreads trials over cells [from, to); the depth is log2 of the number of cells, at most 28. */
static void spread(struct resampler *s, struct stream *r, size_t from, size_t to, uint64_t trials)
{
    if (trials == 0) {
        memset(&s->drawn[from], 0, (to - from) * sizeof(*s->drawn));
        return;
    }
    if (to - from == 1) {
        s->drawn[from] = trials;
        return;
    }
    size_t middle = from + (to - from) / 2;
    uint64_t left =
        eval__binomial(r, trials, s->upto[middle] - s->upto[from], s->upto[to] - s->upto[from]);
    spread(s, r, from, middle, left);
    spread(s, r, middle, to, trials - left);
}

void eval__resampler_draw(struct resampler *s, uint64_t seed, uint64_t number)
{
    struct stream r = eval__stream(seed, number);
    uint64_t samples = s->upto[s->cells];
    if (!s->cell_of) {
        if (s->cells > 0) {
            spread(s, &r, 0, s->cells, samples);
        }
        return;
    }
    memset(s->drawn, 0, s->cells * sizeof(*s->drawn));
    for (uint64_t i = 0; i < samples; i++) {
        s->drawn[s->cell_of[eval__below(&r, samples)]]++;
    }
}

/* -- intervals --------------------------------------------------------------------------------- */

int eval__check_bootstrap(const struct bootstrap_params *params, struct err_buf *e)
{
    if (params->resamples < 1 || params->resamples > BOOTSTRAP_RESAMPLES_MAX) {
        return err_set(e, ERR_INVALID, "%u bootstrap resamples, allowed are 1 to %d",
                       params->resamples, BOOTSTRAP_RESAMPLES_MAX);
    }
    if (!(params->level > 0.0 && params->level < 1.0)) {
        return err_set(e, ERR_INVALID, "interval level %g is not between 0 and 1", params->level);
    }
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, count > 0; numpy's "linear". */
static double quantile(const double *values, size_t count, double q)
{
    double at = q * (double)(count - 1);
    size_t below = (size_t)at;
    if (below + 1 >= count) {
        return values[count - 1];
    }
    return values[below] + (values[below + 1] - values[below]) * (at - (double)below);
}

struct interval eval__interval(double *values, size_t count, double level, double point)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isnan(values[i])) {
            values[kept++] = values[i];
        }
    }
    if (kept == 0 || isnan(point)) {
        return (struct interval){point, (double)NAN, (double)NAN};
    }
    qsort(values, kept, sizeof(*values), compare_doubles);
    return (struct interval){.point = point,
                             .low = fmin(point, quantile(values, kept, (1.0 - level) / 2.0)),
                             .high = fmax(point, quantile(values, kept, (1.0 + level) / 2.0))};
}
