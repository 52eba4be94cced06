/* printf pads by bytes and may print "-nan"; both differ from Python, so padding and NaN are ours.
 */
#include "worker/eval/report.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_WIDTH 9
/* 65,536 rows of a name padded to 1 KiB plus four numbers. */
#define REPORT_BYTES_MAX (80u << 20)

struct table {
    struct buf text;
    int width;
    int digits;
};

static size_t code_points(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0u) != 0x80u;
    }
    return n;
}

static int add_name(struct table *t, const char *name)
{
    int pad = t->width - (int)code_points(name);
    return buf_add_format(&t->text, "%*s%s ", pad > 0 ? pad : 0, "", name);
}

static int add_number(struct table *t, double value)
{
    if (isnan(value)) {
        return buf_add_format(&t->text, " %*s", NUMBER_WIDTH, "nan");
    }
    return buf_add_format(&t->text, " %*.*f", NUMBER_WIDTH, t->digits, value);
}

static int add_support(struct table *t, uint64_t support)
{
    return buf_add_format(&t->text, " %*llu\n", NUMBER_WIDTH, (unsigned long long)support);
}

static int add_row(struct table *t, const char *name, const struct prf *score, uint64_t support)
{
    int rc = add_name(t, name);
    rc = rc ? rc : add_number(t, score->precision);
    rc = rc ? rc : add_number(t, score->recall);
    rc = rc ? rc : add_number(t, score->f1);
    return rc ? rc : add_support(t, support);
}

static int add_header(struct table *t)
{
    int rc = add_name(t, "");
    return rc ? rc
              : buf_add_format(&t->text, " %9s %9s %9s %9s\n\n", "precision", "recall", "f1-score",
                               "support");
}

static int add_accuracy(struct table *t, double accuracy, uint64_t support)
{
    int rc = add_name(t, "accuracy");
    rc = rc ? rc : buf_add_format(&t->text, " %*s %*s", NUMBER_WIDTH, "", NUMBER_WIDTH, "");
    rc = rc ? rc : add_number(t, accuracy);
    return rc ? rc : add_support(t, support);
}

static int add_averages(struct table *t, const struct eval_metrics *m)
{
    int rc = m->micro_is_accuracy ? add_accuracy(t, m->micro.f1, m->support)
                                  : add_row(t, "micro avg", &m->micro, m->support);
    rc = rc ? rc : add_row(t, "macro avg", &m->macro, m->support);
    return rc ? rc : add_row(t, "weighted avg", &m->weighted, m->support);
}

static int add_table(struct table *t, const struct eval_metrics *m, const char *const *names)
{
    int rc = add_header(t);
    for (size_t i = 0; i < m->rows && rc == 0; i++) {
        const struct class_metrics *row = &m->row[i];
        rc = add_row(t, names[row->label], &row->score, row->support);
    }
    rc = rc ? rc : buf_add_text(&t->text, "\n");
    return rc ? rc : add_averages(t, m);
}

/* -- public ------------------------------------------------------------------------------------ */

static int measure(const struct eval_metrics *m, const char *const *names, uint32_t names_count,
                   int digits, int *ret_width, struct err_buf *e)
{
    int width = (int)strlen("weighted avg");
    width = digits > width ? digits : width;
    for (size_t i = 0; i < m->rows; i++) {
        uint32_t id = m->row[i].label;
        if (id >= names_count) {
            return err_set(e, ERR_INVALID, "class %u has no name, %u names are given", id,
                           names_count);
        }
        if (strnlen(names[id], EVAL_REPORT_NAME_BYTES_MAX + 1) > EVAL_REPORT_NAME_BYTES_MAX) {
            return err_set(e, ERR_LIMIT, "the name of class %u is longer than %d bytes", id,
                           EVAL_REPORT_NAME_BYTES_MAX);
        }
        int points = (int)code_points(names[id]);
        width = points > width ? points : width;
    }
    *ret_width = width;
    return 0;
}

int eval_report_format(const struct eval_metrics *m, const char *const *names, uint32_t names_count,
                       int digits, char **ret_text, struct err_buf *e)
{
    if (digits < 0 || digits > EVAL_REPORT_DIGITS_MAX) {
        return err_set(e, ERR_INVALID, "%d digits, allowed are 0 to %d", digits,
                       EVAL_REPORT_DIGITS_MAX);
    }
    struct table t = {.digits = digits};
    int rc = measure(m, names, names_count, digits, &t.width, e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&t.text, REPORT_BYTES_MAX);
    rc = add_table(&t, m, names);
    char *text = rc == 0 ? mem_string(t.text.data, t.text.length) : NULL;
    buf_close(&t.text);
    if (!text) {
        return err_set(e, rc ? rc : ERR_NOMEM, "cannot lay out the table of %zu classes", m->rows);
    }
    *ret_text = text;
    return 0;
}
