/*
 * `meridian predict`: one line of JSON out for each line in, in the same order.
 *
 * The model is a file, or a market's champion, which is fetched into a temporary file that is
 * unlinked at once. A line that begins with '{' is a JSON object with "text"; any other line is the
 * text itself. A line that cannot be used gives an error object, and exit code 1 at the end.
 */
#include "common/artifact/artifact.h"
#include "common/base/mem.h"
#include "common/gzip/gzip.h"
#include "common/json/json.h"
#include "ops/cli/cli.h"
#include "ops/cli/model.h"
#include "worker/model/bag/bag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 * 1024, BLOCK_BYTES = 64 * 1024 };

struct predict {
    struct cli *c;
    struct bag_model *model;
    struct bag_predictor *predictor;
    float *probs;
    void *bytes;   /* of a fetched artifact */
    bool is_alive; /* output is a terminal or a pipe that wants each line at once */
    bool has_bad;
    uint64_t line;
    struct buf out;
};

/* Model -------------------------------------------------------------------------------------- */

static int fetch(struct predict *p)
{
    struct model_version v;
    size_t bytes = 0;
    struct cli *c = p->c;
    int rc = model_find(c, &v);
    if (rc) {
        return rc;
    }
    if (strcmp(v.family, "bag") != 0) {
        return err_set(&c->e, ERR_UNSUPPORTED,
                       "version %lld is of family \"%s\": predict runs bag only", (long long)v.id,
                       v.family);
    }
    rc = artifact_get(c->control, v.artifact, BAG_BYTES_MAX, &p->bytes, &bytes, &c->e);
    return rc ? rc : bag_open(&p->model, span_make(p->bytes, bytes), &c->e);
}

static int open_model(struct predict *p)
{
    struct cli *c = p->c;
    int rc = 0;
    if (c->o.model) {
        rc = bag_open_file(&p->model, c->o.model, &c->e);
        rc = rc ? err_wrap(&c->e, rc, "%s", c->o.model) : 0;
    } else {
        rc = fetch(p);
    }
    if (rc) {
        return rc;
    }
    p->predictor = bag_predictor_new(p->model, &c->e);
    p->probs = mem_new_array(bag_label_count(p->model), sizeof *p->probs);
    return p->predictor && p->probs ? 0 : err_set(&c->e, ERR_NOMEM, "out of memory");
}

static void close_model(struct predict *p)
{
    mem_free(p->probs);
    bag_predictor_free(p->predictor);
    bag_free(p->model);
    mem_free(p->bytes);
    buf_close(&p->out);
}

/* Lines -------------------------------------------------------------------------------------- */

static int write_error(struct predict *p, const char *text)
{
    struct json_writer w;
    p->has_bad = true;
    json_writer_init(&w, &p->out);
    json_write_map(&w, NULL);
    json_write_integer(&w, "line", (int64_t)p->line);
    json_write_text(&w, "error", span_of(text));
    json_write_end(&w);
    return json_writer_finish(&w);
}

static int write_answer(struct predict *p)
{
    struct json_writer w;
    size_t count = bag_label_count(p->model);
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        best = p->probs[i] > p->probs[best] ? i : best;
    }
    json_writer_init(&w, &p->out);
    json_write_map(&w, NULL);
    json_write_text(&w, "label", bag_label(p->model, best));
    json_write_real(&w, "probability", (double)p->probs[best]);
    if (p->c->o.all) {
        json_write_map(&w, "probabilities");
        for (size_t i = 0; i < count; i++) {
            char name[BAG_LABEL_BYTES_MAX + 1];
            struct span s = bag_label(p->model, i);
            (void)snprintf(name, sizeof name, "%.*s", (int)s.length, s.data);
            json_write_real(&w, name, (double)p->probs[i]);
        }
        json_write_end(&w);
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

static int answer_text(struct predict *p, struct span text)
{
    struct err_buf why = {{0}};
    int rc = bag_predict(p->predictor, text.data ? text.data : "", text.length, p->probs, &why);
    if (rc == ERR_NOMEM) {
        return err_set(&p->c->e, rc, "out of memory");
    }
    return rc ? write_error(p, why.text) : write_answer(p);
}

static int answer_json(struct predict *p, struct span line)
{
    struct json *root = NULL;
    struct err_buf why = {{0}};
    int rc = json_parse(line, &json_limits_line, &root, &why);
    if (rc) {
        return write_error(p, why.text);
    }
    const struct json *text = json_get(root, "text");
    rc = json_kind_of(text) == JSON_KIND_TEXT ? answer_text(p, json_span(text))
                                              : write_error(p, "no \"text\" in the object");
    json_free(root);
    return rc;
}

static int answer_line(struct predict *p, struct span line, bool is_long)
{
    p->line++;
    if (line.length > 0 && line.data[line.length - 1] == '\r') {
        line.length--;
    }
    buf_reset(&p->out);
    int rc = is_long                                  ? write_error(p, "the line is over 1 MiB")
             : line.length > 0 && line.data[0] == '{' ? answer_json(p, line)
                                                      : answer_text(p, line);
    if (rc) {
        return *p->c->e.text ? rc : err_set(&p->c->e, rc, "%s", err_text(rc));
    }
    (void)fwrite(p->out.data, 1, p->out.length, p->c->out);
    (void)fputc('\n', p->c->out);
    if (p->is_alive) {
        (void)fflush(p->c->out);
    }
    return ferror(p->c->out) ? err_set(&p->c->e, ERR_IO, "cannot write: %s", strerror(errno)) : 0;
}

/* Cuts a stream into lines; what is longer than the limit is passed over. */
struct splitter {
    struct buf line;
    bool is_long;
    bool has_any;
};

static int take_piece(struct splitter *s, struct span piece)
{
    s->has_any = true;
    int rc = s->is_long ? 0 : buf_add(&s->line, piece.data, piece.length);
    if (rc == ERR_LIMIT) {
        s->is_long = true;
        return 0;
    }
    return rc;
}

static int end_line(struct predict *p, struct splitter *s)
{
    int rc = answer_line(p, buf_span(&s->line), s->is_long);
    buf_reset(&s->line);
    s->is_long = false;
    s->has_any = false;
    return rc;
}

static int take_block(struct predict *p, struct splitter *s, struct span block)
{
    while (block.length > 0) {
        const char *newline = memchr(block.data, '\n', block.length);
        size_t n = newline ? (size_t)(newline - block.data) : block.length;
        int rc = take_piece(s, span_make(block.data, n));
        if (rc) {
            return err_set(&p->c->e, rc, "%s", err_text(rc));
        }
        if (!newline) {
            return 0;
        }
        rc = end_line(p, s);
        if (rc) {
            return rc;
        }
        block.data += n + 1;
        block.length -= n + 1;
    }
    return 0;
}

static int read_lines(struct predict *p, struct gzip_reader *file)
{
    struct splitter s = {.is_long = false};
    char *block = mem_new(BLOCK_BYTES);
    size_t length = 1;
    int rc = block ? 0 : err_set(&p->c->e, ERR_NOMEM, "out of memory");
    buf_init(&s.line, LINE_BYTES_MAX);
    while (rc == 0 && length > 0) {
        rc = gzip_read(file, block, BLOCK_BYTES, &length, &p->c->e);
        rc = rc ? rc : take_block(p, &s, span_make(block, length));
        if (rc == 0 && cli_is_interrupted()) {
            rc = err_set(&p->c->e, ERR_CANCELLED, "interrupted");
        }
    }
    if (rc == 0 && s.has_any) {
        rc = end_line(p, &s);
    }
    buf_close(&s.line);
    mem_free(block);
    return rc;
}

static int run_predict(struct cli *c)
{
    struct predict p = {.c = c};
    struct gzip_reader *file = NULL;
    const char *path = c->arg_count > 0 ? c->args[0] : "-";
    if (c->o.model && (c->o.market || c->o.task || c->o.version_id)) {
        return cli_usage(c, "--model excludes --market, --task and --version-id");
    }
    if (!c->o.model && !(c->o.market && c->o.task) && c->o.version_id == 0) {
        return cli_usage(c, "name a model: --model FILE, or --market M --task T");
    }
    buf_init(&p.out, 16 * 1024 * 1024);
    p.is_alive = strcmp(path, "-") == 0;
    int rc = open_model(&p);
    rc = rc ? rc : gzip_open(&file, path, &c->e);
    rc = rc ? rc : read_lines(&p, file);
    gzip_close(file);
    close_model(&p);
    if (rc == 0 && p.has_bad) {
        (void)fflush(c->out);
        (void)fprintf(
            stderr,
            "meridian predict: some lines could not be used; see \"error\" in the output\n");
        return CLI_FAILED;
    }
    return rc;
}

static const struct config_entry flags[] = {
    {.name = "all",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct cli_options, all),
     .fallback = "true",
     .help = "the probability of every label (default); --no-all for the best only"},
    CLI_FLAG_MARKET,
    CLI_FLAG("model", CONFIG_TEXT, model, "FILE from meridian model pull; needs no server"),
    CLI_FLAG_TASK,
    CLI_FLAG_NUMBER("version-id", CONFIG_INTEGER, version_id, NULL, 0, 9e15, "ID of a version"),
};

static const struct cli_command commands[] = {
    {.name = "predict",
     .args = "[FILE]",
     .summary = "texts in, label and probabilities out, a JSON line each",
     .details = "Reads FILE or standard input: plain lines, or JSON lines with \"text\". Order is "
                "kept. A line that\n"
                "cannot be used gives {\"line\",\"error\"}, and exit code 1 at the end.",
     .examples =
         "  echo 'wo bleibt mein paket' | meridian predict --market de-DE --task support-intent\n"
         "  meridian predict --model de.bag texts.jsonl.gz > labels.jsonl",
     CLI_FLAGS(flags),
     .arg_max = 1,
     .run = run_predict},
};

CLI_GROUP(cli_predict_group, commands);
