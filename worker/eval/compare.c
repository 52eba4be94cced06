/*
 * Samples are counted by (truth, champion's answer, challenger's answer); everything here, the
 * resamples too, is computed from those counts.
 */
#include "worker/eval/compare.h"

#include "common/base/mem.h"
#include "worker/eval/eval_int.h"

#include <math.h>
#include <string.h>

/* -- exact tests ------------------------------------------------------------------------------- */

/*
 * P(X <= k) for X of n fair coin flips, k <= n/2. The largest term is a product kept as mantissa
 * and exponent, so neither lgamma's error nor underflow comes in; the others follow by ratio.
 */
static double fair_tail(uint64_t n, uint64_t k)
{
    double mantissa = 1.0;
    int64_t exponent = 0;
    for (uint64_t j = 1; j <= k; j++) {
        int shift = 0;
        mantissa = frexp(mantissa * ((double)(n - k + j) / (double)j), &shift);
        exponent += shift;
    }
    double term = 1.0;
    double sum = 1.0;
    for (uint64_t i = k; i > 0 && term > sum * 0x1p-60; i--) {
        term *= (double)i / (double)(n - i + 1);
        sum += term;
    }
    int64_t scale = exponent - (int64_t)n;
    return scale < -2000 ? 0.0 : ldexp(mantissa * sum, (int)scale);
}

double compare_mcnemar_p(struct discordance d)
{
    uint64_t low = d.only_champion < d.only_challenger ? d.only_champion : d.only_challenger;
    double p = 2.0 * fair_tail(d.only_champion + d.only_challenger, low);
    return d.only_champion == d.only_challenger || p > 1.0 ? 1.0 : p;
}

double compare_loss_p(struct discordance d)
{
    uint64_t n = d.only_champion + d.only_challenger;
    if (d.only_challenger < d.only_champion) {
        return fair_tail(n, d.only_challenger);
    }
    return d.only_champion == 0 ? 1.0 : 1.0 - fair_tail(n, d.only_champion - 1);
}

/* -- counts ------------------------------------------------------------------------------------ */

struct cell {
    uint32_t truth;
    uint32_t champion;
    uint32_t challenger;
};

struct tally {
    uint64_t support;
    uint64_t champion_hits;
    uint64_t champion_predicted;
    uint64_t challenger_hits;
    uint64_t challenger_predicted;
};

struct work {
    size_t cells;
    struct cell *cell;
    struct resampler resampler;
    uint64_t *full; /* [cells] counts of all samples, in the form of a draw */
    uint32_t classes;
    struct tally *by_class;
    double *accuracy; /* [resamples] differences */
    double *macro_f1;
};

static void work_close(struct work *w)
{
    mem_free(w->cell);
    eval__resampler_close(&w->resampler);
    mem_free(w->full);
    mem_free(w->by_class);
    mem_free(w->accuracy);
    mem_free(w->macro_f1);
    *w = (struct work){0};
}

static int take_cells(struct work *w, const struct eval_key *counted, size_t cells,
                      struct err_buf *e)
{
    w->cells = cells;
    w->cell = mem_new_array(cells, sizeof(*w->cell));
    w->full = mem_new_array(cells, sizeof(*w->full));
    if (!w->cell || !w->full) {
        return err_set(e, ERR_NOMEM, "no memory for comparing %zu cells", cells);
    }
    for (size_t i = 0; i < cells; i++) {
        uint64_t key = counted[i].key;
        w->cell[i] = (struct cell){.truth = (uint32_t)(key >> 32),
                                   .champion = (uint32_t)(key >> 16) & 0xffffu,
                                   .challenger = (uint32_t)key & 0xffffu};
        w->full[i] = counted[i].count;
    }
    return eval__resampler_init(&w->resampler, w->full, cells, e);
}

static int count_cells(struct work *w, const uint32_t *y_true, const uint32_t *champion,
                       const uint32_t *challenger, size_t samples, struct err_buf *e)
{
    uint64_t *keys = mem_new_array(samples, sizeof(*keys));
    if (!keys) {
        return err_set(e, ERR_NOMEM, "no memory for %zu samples", samples);
    }
    for (size_t i = 0; i < samples; i++) {
        keys[i] = (uint64_t)y_true[i] << 32 | (uint64_t)champion[i] << 16 | challenger[i];
    }
    size_t cells = 0;
    struct eval_key *counted = eval__count_keys(keys, samples, &cells);
    mem_free(keys);
    if (!counted) {
        return err_set(e, ERR_NOMEM, "no memory for %zu samples", samples);
    }
    int rc = take_cells(w, counted, cells, e);
    mem_free(counted);
    return rc;
}

static int work_room(struct work *w, uint32_t classes, uint32_t resamples, struct err_buf *e)
{
    w->classes = classes;
    w->by_class = mem_new_array(classes, sizeof(*w->by_class));
    w->accuracy = mem_new_array(resamples, sizeof(*w->accuracy));
    w->macro_f1 = mem_new_array(resamples, sizeof(*w->macro_f1));
    if (!w->by_class || !w->accuracy || !w->macro_f1) {
        return err_set(e, ERR_NOMEM, "no memory for %u resamples", resamples);
    }
    return 0;
}

/* -- scores ------------------------------------------------------------------------------------ */

struct scores {
    double champion_accuracy;
    double challenger_accuracy;
    double champion_macro_f1;
    double challenger_macro_f1;
};

static void tally(struct work *w, const uint64_t *counts)
{
    memset(w->by_class, 0, w->classes * sizeof(*w->by_class));
    for (size_t i = 0; i < w->cells; i++) {
        const struct cell *cell = &w->cell[i];
        uint64_t n = counts[i];
        w->by_class[cell->truth].support += n;
        w->by_class[cell->champion].champion_predicted += n;
        w->by_class[cell->challenger].challenger_predicted += n;
        w->by_class[cell->truth].champion_hits += cell->champion == cell->truth ? n : 0;
        w->by_class[cell->truth].challenger_hits += cell->challenger == cell->truth ? n : 0;
    }
}

static double f1_of(uint64_t hits, uint64_t support, uint64_t predicted)
{
    return 2.0 * (double)hits / (double)(support + predicted);
}

static struct scores score(struct work *w, const uint64_t *counts)
{
    tally(w, counts);
    struct scores s = {0};
    uint64_t classes = 0;
    uint64_t samples = 0;
    uint64_t champion_hits = 0;
    uint64_t challenger_hits = 0;
    for (uint32_t id = 0; id < w->classes; id++) {
        const struct tally *t = &w->by_class[id];
        if (t->support == 0) {
            continue;
        }
        classes++;
        samples += t->support;
        champion_hits += t->champion_hits;
        challenger_hits += t->challenger_hits;
        s.champion_macro_f1 += f1_of(t->champion_hits, t->support, t->champion_predicted);
        s.challenger_macro_f1 += f1_of(t->challenger_hits, t->support, t->challenger_predicted);
    }
    s.champion_accuracy = (double)champion_hits / (double)samples;
    s.challenger_accuracy = (double)challenger_hits / (double)samples;
    s.champion_macro_f1 /= (double)classes;
    s.challenger_macro_f1 /= (double)classes;
    return s;
}

static void bootstrap(struct comparison *c, struct work *w, const struct bootstrap_params *p)
{
    double worse = 0.0;
    for (uint32_t i = 0; i < p->resamples; i++) {
        eval__resampler_draw(&w->resampler, p->seed, i);
        struct scores s = score(w, w->resampler.drawn);
        double difference = s.challenger_macro_f1 - s.champion_macro_f1;
        w->accuracy[i] = s.challenger_accuracy - s.champion_accuracy;
        w->macro_f1[i] = difference;
        worse += difference < 0.0 ? 1.0 : (difference > 0.0 ? 0.0 : 0.5);
    }
    c->macro_f1_worse_share = worse / p->resamples;
    c->accuracy_difference = eval__interval(w->accuracy, p->resamples, p->level,
                                            c->challenger_accuracy - c->champion_accuracy);
    c->macro_f1_difference = eval__interval(w->macro_f1, p->resamples, p->level,
                                            c->challenger_macro_f1 - c->champion_macro_f1);
}

/* -- classes ----------------------------------------------------------------------------------- */

struct class_discordance {
    struct discordance recall;
    struct discordance is_it; /* "is it this class" answered right by one only */
};

/* One cell touches at most three classes: the true one and the two answers. */
static void discordance_add(struct class_discordance *by_class, const struct cell *cell, uint64_t n)
{
    if (cell->champion == cell->challenger) {
        return;
    }
    if (cell->champion == cell->truth) {
        by_class[cell->truth].recall.only_champion += n;
        by_class[cell->truth].is_it.only_champion += n;
    } else {
        by_class[cell->champion].is_it.only_challenger += n; /* the champion's false alarm */
    }
    if (cell->challenger == cell->truth) {
        by_class[cell->truth].recall.only_challenger += n;
        by_class[cell->truth].is_it.only_challenger += n;
    } else {
        by_class[cell->challenger].is_it.only_champion += n;
    }
}

/* Falls beyond the limit by more than rounding, and not by chance. */
static bool has_fallen(double from, double to, double p, const struct compare_params *params)
{
    return from - to > params->collapse_drop + 1e-12 && p <= params->collapse_alpha;
}

static double largest_drop(const struct compare_class *r)
{
    return fmax(r->champion_recall - r->challenger_recall, r->champion_f1 - r->challenger_f1);
}

static void judge(struct comparison *c, const struct tally *t, uint32_t label,
                  const struct class_discordance *d, const struct compare_params *params)
{
    struct compare_class r = {
        .label = label,
        .support = t->support,
        .champion_recall = (double)t->champion_hits / (double)t->support,
        .champion_f1 = f1_of(t->champion_hits, t->support, t->champion_predicted),
        .challenger_recall = (double)t->challenger_hits / (double)t->support,
        .challenger_f1 = f1_of(t->challenger_hits, t->support, t->challenger_predicted),
        .recall_p = compare_loss_p(d->recall),
        .f1_p = compare_loss_p(d->is_it),
    };
    r.is_collapsed = t->support >= params->min_support &&
                     (has_fallen(r.champion_recall, r.challenger_recall, r.recall_p, params) ||
                      has_fallen(r.champion_f1, r.challenger_f1, r.f1_p, params));
    c->row[c->rows] = r;
    if (r.is_collapsed) {
        if (c->collapsed == 0 || largest_drop(&r) > largest_drop(&c->row[c->worst])) {
            c->worst = c->rows;
        }
        c->collapsed++;
    }
    c->rows++;
}

static int judge_classes(struct comparison *c, struct work *w, const struct compare_params *params,
                         struct err_buf *e)
{
    struct class_discordance *by_class = mem_new_array(w->classes, sizeof(*by_class));
    c->row = mem_new_array(w->classes, sizeof(*c->row));
    if (!by_class || !c->row) {
        mem_free(by_class);
        return err_set(e, ERR_NOMEM, "no memory for %u classes", w->classes);
    }
    for (size_t i = 0; i < w->cells; i++) {
        discordance_add(by_class, &w->cell[i], w->full[i]);
    }
    for (uint32_t id = 0; id < w->classes; id++) {
        c->discordance.only_champion += by_class[id].recall.only_champion;
        c->discordance.only_challenger += by_class[id].recall.only_challenger;
        if (w->by_class[id].support > 0) {
            judge(c, &w->by_class[id], id, &by_class[id], params);
        }
    }
    c->mcnemar_p = compare_mcnemar_p(c->discordance);
    mem_free(by_class);
    return 0;
}

/* -- public ------------------------------------------------------------------------------------ */

struct compare_params compare_defaults(uint64_t seed)
{
    return (struct compare_params){
        .bootstrap = {.resamples = COMPARE_RESAMPLES, .level = BOOTSTRAP_LEVEL, .seed = seed},
        .min_support = COMPARE_MIN_SUPPORT,
        .collapse_drop = COMPARE_COLLAPSE_DROP,
        .collapse_alpha = COMPARE_COLLAPSE_ALPHA,
    };
}

static int check_params(const struct compare_params *p, struct err_buf *e)
{
    if (!(p->collapse_drop >= 0.0 && p->collapse_drop <= 1.0)) {
        return err_set(e, ERR_INVALID, "collapse_drop %g is not in 0..1", p->collapse_drop);
    }
    if (!(p->collapse_alpha >= 0.0 && p->collapse_alpha <= 1.0)) {
        return err_set(e, ERR_INVALID, "collapse_alpha %g is not in 0..1", p->collapse_alpha);
    }
    return eval__check_bootstrap(&p->bootstrap, e);
}

static int check(const uint32_t *y_true, const uint32_t *champion, const uint32_t *challenger,
                 size_t samples, uint32_t classes, struct err_buf *e)
{
    if (samples == 0) {
        return err_set(e, ERR_DATA, "no samples to compare on");
    }
    int rc = eval__check_size(samples, classes, e);
    rc = rc ? rc : eval__check_ids(y_true, samples, classes, "true", e);
    rc = rc ? rc : eval__check_ids(champion, samples, classes, "champion's", e);
    return rc ? rc : eval__check_ids(challenger, samples, classes, "challenger's", e);
}

int comparison_init(struct comparison *c, const uint32_t *y_true, const uint32_t *champion,
                    const uint32_t *challenger, size_t samples, uint32_t classes,
                    const struct compare_params *params, struct err_buf *e)
{
    struct work w = {0};
    struct comparison made = {.samples = samples};
    int rc = check_params(params, e);
    rc = rc ? rc : check(y_true, champion, challenger, samples, classes, e);
    rc = rc ? rc : count_cells(&w, y_true, champion, challenger, samples, e);
    rc = rc ? rc : work_room(&w, classes, params->bootstrap.resamples, e);
    if (rc != 0) {
        goto close_work;
    }
    struct scores s = score(&w, w.full);
    made.champion_accuracy = s.champion_accuracy;
    made.challenger_accuracy = s.challenger_accuracy;
    made.champion_macro_f1 = s.champion_macro_f1;
    made.challenger_macro_f1 = s.challenger_macro_f1;
    rc = judge_classes(&made, &w, params, e); /* before the resamples reuse the tally */
    if (rc != 0) {
        goto close_work;
    }
    bootstrap(&made, &w, &params->bootstrap);
    *c = made;
    made.row = NULL;
close_work:
    mem_free(made.row);
    work_close(&w);
    return rc;
}

void comparison_close(struct comparison *c)
{
    mem_free(c->row);
    *c = (struct comparison){0};
}
