/* The order of the checks is the order of the header's list; each gives one reason. */
#include "worker/eval/gate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A difference computed from doubles is not worse than -tolerance because of its last bit. */
#define ROUNDING 1e-12

static const char *const reason_names[GATE_REASON_COUNT] = {
#define X(reason, name, promotes) [GATE_REASON_##reason] = (name),
    GATE_REASON_LIST(X)
#undef X
};

static const bool reason_promotes[GATE_REASON_COUNT] = {
#define X(reason, name, promotes) [GATE_REASON_##reason] = (promotes),
    GATE_REASON_LIST(X)
#undef X
};

static const char *const mode_names[GATE_MODE_COUNT] = {"balanced", "proven", "better"};

struct gate_params gate_defaults(void)
{
    return (struct gate_params){
        .mode = GATE_MODE_BALANCED, .tolerance = GATE_TOLERANCE, .min_samples = GATE_MIN_SAMPLES};
}

const char *gate_reason_name(enum gate_reason reason)
{
    CHECK(reason < GATE_REASON_COUNT);
    return reason_names[reason];
}

const char *gate_mode_name(enum gate_mode mode)
{
    CHECK(mode < GATE_MODE_COUNT);
    return mode_names[mode];
}

enum gate_mode gate_mode_from_name(const char *name)
{
    int mode = 0;
    while (mode < GATE_MODE_COUNT && strcmp(name, mode_names[mode]) != 0) {
        mode++;
    }
    return (enum gate_mode)mode;
}

int gate_check(const struct gate_params *params, struct err_buf *e)
{
    if (params->mode >= GATE_MODE_COUNT) {
        return err_set(e, ERR_INVALID, "gate mode %d does not exist", (int)params->mode);
    }
    if (!(params->tolerance >= 0.0 && params->tolerance <= 1.0)) {
        return err_set(e, ERR_INVALID, "tolerance %g is not in 0..1", params->tolerance);
    }
    return 0;
}

/* -- writing the verdict ----------------------------------------------------------------------- */

static void number_add(struct gate_verdict *v, const char *name, double value)
{
    CHECK(v->numbers < GATE_NUMBERS_MAX && isfinite(value));
    v->number[v->numbers++] = (struct gate_number){.name = name, .value = value};
}

__attribute__((format(printf, 3, 4))) static void
conclude(struct gate_verdict *v, enum gate_reason reason, const char *format, ...)
{
    v->reason = reason;
    v->is_promoted = reason_promotes[reason];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(v->sentence, sizeof(v->sentence), format, args); /* names are cut: it fits */
    va_end(args);
}

static uint64_t samples_wanted(const struct gate_params *params)
{
    return params->min_samples > 0 ? params->min_samples : 1;
}

/* Rule 1; true when it decided. */
static bool refuse_few(struct gate_verdict *v, uint64_t samples, const struct gate_params *params)
{
    if (samples == 0) {
        conclude(v, GATE_REASON_NO_TEST_SAMPLES,
                 "there are no test samples to judge by; import some with --split test");
        return true;
    }
    if (samples < samples_wanted(params)) {
        conclude(v, GATE_REASON_TOO_FEW_TEST_SAMPLES,
                 "%llu test samples are fewer than the %llu that a verdict needs",
                 (unsigned long long)samples, (unsigned long long)samples_wanted(params));
        return true;
    }
    return false;
}

/* -- challenger -------------------------------------------------------------------------------- */

static void add_interval(struct gate_verdict *v, const struct interval *i, const char *point,
                         const char *low, const char *high)
{
    number_add(v, point, i->point);
    number_add(v, low, i->low);
    number_add(v, high, i->high);
}

static void add_comparison(struct gate_verdict *v, const struct comparison *c)
{
    number_add(v, "champion_macro_f1", c->champion_macro_f1);
    number_add(v, "challenger_macro_f1", c->challenger_macro_f1);
    add_interval(v, &c->macro_f1_difference, "macro_f1_difference", "macro_f1_difference_low",
                 "macro_f1_difference_high");
    number_add(v, "macro_f1_worse_share", c->macro_f1_worse_share);
    number_add(v, "champion_accuracy", c->champion_accuracy);
    number_add(v, "challenger_accuracy", c->challenger_accuracy);
    add_interval(v, &c->accuracy_difference, "accuracy_difference", "accuracy_difference_low",
                 "accuracy_difference_high");
    number_add(v, "only_champion_right", (double)c->discordance.only_champion);
    number_add(v, "only_challenger_right", (double)c->discordance.only_challenger);
    number_add(v, "mcnemar_p", c->mcnemar_p);
    number_add(v, "collapsed_classes", (double)c->collapsed);
}

#define NAME_BYTES_SHOWN 120

/* A label for a sentence: cut between code points, control characters as spaces. */
static void quote_name(char *out, size_t size, const char *name)
{
    size_t length = strnlen(name, NAME_BYTES_SHOWN + 1);
    if (length > NAME_BYTES_SHOWN) {
        length = NAME_BYTES_SHOWN;
        while (length > 0 && ((unsigned char)name[length] & 0xc0u) == 0x80u) {
            length--;
        }
    }
    (void)snprintf(out, size, "\"%.*s\"", (int)length, name);
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = ' ';
        }
    }
}

static void collapse(struct gate_verdict *v, const struct comparison *c, const char *const *names)
{
    const struct compare_class *r = &c->row[c->worst];
    char others[64] = "";
    char name[NAME_BYTES_SHOWN + 3];
    if (c->collapsed > 1) {
        (void)snprintf(others, sizeof(others), " (and %zu more)", c->collapsed - 1);
    }
    if (names) {
        quote_name(name, sizeof(name), names[r->label]);
    } else {
        (void)snprintf(name, sizeof(name), "%u", r->label);
    }
    conclude(v, GATE_REASON_CLASS_COLLAPSED,
             "class %s%s collapsed: recall %.4f, was %.4f; F1 %.4f, was %.4f; %llu samples", name,
             others, r->challenger_recall, r->champion_recall, r->challenger_f1, r->champion_f1,
             (unsigned long long)r->support);
}

/* The figures that each sentence ends with. */
static const char *figures(const struct comparison *c, char text[160])
{
    const struct interval *d = &c->macro_f1_difference;
    (void)snprintf(text, 160,
                   "macro-F1 %.4f, champion %.4f, difference %+.4f (interval %+.4f to %+.4f), "
                   "%llu samples",
                   c->challenger_macro_f1, c->champion_macro_f1, d->point, d->low, d->high,
                   (unsigned long long)c->samples);
    return text;
}

static void judge(struct gate_verdict *v, const struct comparison *c, const char *const *names,
                  const struct gate_params *params)
{
    char text[160];
    const struct interval *d = &c->macro_f1_difference;
    figures(c, text);
    if (d->point < -params->tolerance - ROUNDING) {
        conclude(v, GATE_REASON_WORSE, "worse by more than the tolerance of %.4f: %s",
                 params->tolerance, text);
    } else if (d->high < -ROUNDING) {
        conclude(v, GATE_REASON_SIGNIFICANTLY_WORSE,
                 "within the tolerance of %.4f, but certainly worse: %s", params->tolerance, text);
    } else if (c->collapsed > 0) {
        collapse(v, c, names);
    } else if (params->mode == GATE_MODE_PROVEN && d->low <= -params->tolerance) {
        conclude(v, GATE_REASON_NOT_PROVEN, "could be worse by more than the tolerance of %.4f: %s",
                 params->tolerance, text);
    } else if (params->mode == GATE_MODE_BETTER && d->low <= ROUNDING) {
        conclude(v, GATE_REASON_NOT_BETTER, "not certainly better: %s", text);
    } else if (d->low > ROUNDING) {
        conclude(v, GATE_REASON_BETTER, "better: %s", text);
    } else {
        conclude(v, GATE_REASON_NOT_WORSE, "not worse beyond the tolerance of %.4f: %s",
                 params->tolerance, text);
    }
}

void gate_decide(struct gate_verdict *ret, const struct comparison *c, const char *const *names,
                 const struct gate_params *params)
{
    uint64_t samples = c ? c->samples : 0;
    *ret = (struct gate_verdict){0};
    number_add(ret, "samples", (double)samples);
    number_add(ret, "tolerance", params->tolerance);
    if (samples > 0) {
        add_comparison(ret, c);
    }
    if (!refuse_few(ret, samples, params)) {
        judge(ret, c, names, params);
    }
}

/* -- first version ----------------------------------------------------------------------------- */

/* Cells are sorted by truth, so each class is one run. */
static uint64_t largest_support(const struct confusion *c)
{
    uint64_t largest = 0;
    uint64_t run = 0;
    for (size_t i = 0; i < c->cells; i++) {
        bool is_same = i > 0 && c->cell[i].truth == c->cell[i - 1].truth;
        run = (is_same ? run : 0) + c->cell[i].count;
        largest = run > largest ? run : largest;
    }
    return largest;
}

static uint64_t correct_of(const struct confusion *c)
{
    uint64_t correct = 0;
    for (size_t i = 0; i < c->cells; i++) {
        correct += c->cell[i].truth == c->cell[i].predicted ? c->cell[i].count : 0;
    }
    return correct;
}

void gate_decide_first(struct gate_verdict *ret, const struct confusion *c,
                       const struct gate_params *params)
{
    *ret = (struct gate_verdict){0};
    number_add(ret, "samples", (double)c->samples);
    if (c->samples == 0) {
        (void)refuse_few(ret, 0, params);
        return;
    }
    uint64_t correct = correct_of(c);
    uint64_t majority = largest_support(c);
    double accuracy = (double)correct / (double)c->samples;
    double baseline = (double)majority / (double)c->samples;
    number_add(ret, "challenger_accuracy", accuracy);
    number_add(ret, "majority_accuracy", baseline);
    if (refuse_few(ret, c->samples, params)) {
        return;
    }
    bool beats = correct > majority;
    conclude(ret,
             beats ? GATE_REASON_FIRST_VERSION_BEATS_MAJORITY
                   : GATE_REASON_FIRST_VERSION_NOT_ABOVE_MAJORITY,
             "the market's first version %s always answering the most frequent class: accuracy "
             "%.4f, that has %.4f, %llu samples",
             beats ? "beats" : "does not beat", accuracy, baseline, (unsigned long long)c->samples);
}
