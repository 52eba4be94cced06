/* ops/ingest: files that other people wrote, whole and broken. */
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "ops/ingest/ingest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What came out, as one text: "id|text|label;" a row, "!line:fault;" a bad one. */
struct seen {
    struct buf out;
    int rows;
    int fail_at; /* the row callback fails at this row */
};

static int on_row(const struct ingest_row *row, struct err_buf *e, void *data)
{
    struct seen *s = data;
    if (++s->rows == s->fail_at) {
        return err_set(e, ERR_DATABASE, "refused");
    }
    const char *id = row->id_is_derived ? "*" : row->id.data;
    int id_length = row->id_is_derived ? 1 : (int)row->id.length;
    return buf_add_format(&s->out, "%.*s|%.*s|%.*s;", id_length, id, (int)row->text.length,
                          row->text.data, (int)row->label.length, row->label.data);
}

static void on_bad(uint64_t line, enum ingest_fault fault, void *data)
{
    struct seen *s = data;
    assert_int_equal(buf_add_format(&s->out, "!%d:%s;", (int)line, ingest_fault_name(fault)), 0);
}

/* Reads text in pieces of step bytes. */
static int read_steps(const struct ingest_options *o, struct span text, size_t step, struct seen *s,
                      struct err_buf *e)
{
    buf_reset(&s->out);
    s->rows = 0;
    struct ingest *in = ingest_new(o, on_row, on_bad, s, e);
    assert_non_null(in);
    int rc = 0;
    for (size_t at = 0; at < text.length && rc == 0; at += step) {
        size_t n = text.length - at < step ? text.length - at : step;
        rc = ingest_feed(in, span_make(text.data + at, n), e);
    }
    rc = rc ? rc : ingest_finish(in, e);
    ingest_free(in);
    return rc;
}

/* The result must not depend on how the bytes were cut. */
static void expect_span(const struct ingest_options *o, struct span text, const char *want)
{
    struct seen s = {0};
    struct err_buf e = {{0}};
    static const size_t steps[] = {1, 2, 3, 7, 64, 1 << 20};
    buf_init(&s.out, 1 << 20);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int rc = read_steps(o, text, steps[i], &s, &e);
        assert_string_equal(e.text, "");
        assert_int_equal(rc, 0);
        assert_string_equal(buf_text(&s.out), want);
    }
    buf_close(&s.out);
}

static void expect(enum ingest_format format, const char *text, const char *want)
{
    expect_span(&(struct ingest_options){.format = format}, span_of(text), want);
}

static void expect_failure(enum ingest_format format, const char *text, const char *part)
{
    struct seen s = {0};
    struct err_buf e = {{0}};
    buf_init(&s.out, 1 << 20);
    struct ingest_options o = {.format = format, .text_bytes_max = 100};
    assert_int_equal(read_steps(&o, span_of(text), 5, &s, &e), ERR_PARSE);
    if (!strstr(e.text, part)) {
        assert_string_equal(e.text, part);
    }
    buf_close(&s.out);
}

/* Plain CSV: columns are found by name, in any order, whatever their case. */
static void test_csv_columns_by_name(void **state)
{
    (void)state;
    expect(INGEST_CSV, "Label,other,TEXT,id\na,x,hello,1\nb,y,bye,2\n", "1|hello|a;2|bye|b;");
    expect(INGEST_CSV, "label,text\na,hello", "*|hello|a;");
}

/* Quoted fields hold delimiters, newlines and doubled quotes; CRLF and BOM do not get into rows. */
static void test_csv_quotes_crlf_and_bom(void **state)
{
    (void)state;
    expect(INGEST_CSV,
           "\xef\xbb\xbf"
           "id,text,label\r\n1,\"a, \"\"b\"\"\r\nc\",\"x\"\r\n\r\n2,plain \"q\" here,y\r\n",
           "1|a, \"b\"\r\nc|x;2|plain \"q\" here|y;");
}

/* The line of a row is where it begins, also after fields with newlines. */
static void test_csv_bad_rows_name_their_line(void **state)
{
    (void)state;
    expect(INGEST_CSV, "text,label\n\"a\nb\",x\n,x\nonly one\nt,\n\"a\"b,x\na,b,c\n",
           "*|a\nb|x;!4:empty_text;!5:columns;!6:no_label;!7:quote;!8:columns;");
}

/* A TSV with lone quotes is read with no_quotes. */
static void test_tsv_with_lone_quotes(void **state)
{
    (void)state;
    expect(INGEST_TSV, "text\tlabel\n\"a\tb\"\tx\n", "*|a\tb|x;");
    struct ingest_options o = {.format = INGEST_TSV, .no_quotes = true};
    expect_span(&o, span_of("text\tlabel\n5\" screen\tx\n\"hi\ty\n"), "*|5\" screen|x;*|\"hi|y;");
}

/* What makes the rest of a file unreadable ends it, without showing any of it. */
static void test_unreadable_files_end_with_a_reason(void **state)
{
    (void)state;
    char runaway[3000] = "text,label\n\"a\n";
    memset(runaway + strlen(runaway), 'x', 2000);
    expect_failure(INGEST_CSV, runaway, "a quote is missing");
    expect_failure(INGEST_CSV, "text,label\n\"never closed,x\n", "never closed");
    expect_failure(INGEST_CSV, "my secret text,greeting\n",
                   "2 columns is a known name for the text");
    expect_failure(INGEST_CSV, "", "no header");
    expect_failure(INGEST_AUTO, "\xff\xfet\0e\0", "UTF-16");
    expect_failure(INGEST_AUTO, "[{\"text\":\"a\",\"label\":\"b\"}]", "JSON array");
}

/* JSON Lines: escapes are decoded, numbers may be ids and labels, other members are passed over. */
static void test_jsonl_rows(void **state)
{
    (void)state;
    expect(INGEST_JSONL,
           "{\"id\":7,\"text\":\"caf\\u00e9 \\ud83d\\ude00\\n\",\"label\":3}\n\n"
           " {\"x\":{\"text\":[1,2,{\"a\":null}]},\"utterance\":\"hi\",\"intent\":\"g\"} \r\n"
           "{\"intent\":\"no\",\"label\":\"yes\",\"text\":\"t\",\"query\":\"no\"}",
           "7|caf\xc3\xa9 \xf0\x9f\x98\x80\n|3;*|hi|g;*|t|yes;");
}

/* Every kind of broken line is counted with its reason and the next one is read. */
static void test_jsonl_bad_lines(void **state)
{
    (void)state;
    expect(
        INGEST_JSONL,
        "{\"text\":\"a\"}\n{\"label\":\"a\"}\n{\"text\":\" \",\"label\":\"a\"}\nnot json\n"
        "{\"text\":\"a\",\"label\":\"b\"} x\n{\"text\":\"\\ud800\",\"label\":\"b\"}\n"
        "{\"text\":[1],\"label\":\"b\"}\n{\"text\":\"a\\u0000\",\"label\":\"b\"}\n"
        "{\"text\":\"\xff\",\"label\":\"b\"}\n{\"text\":\"a\",\"label\":\"b\\u0007\"}\n"
        "{\"text\":null,\"label\":\"b\"}\n{\"text\":\"a\",\"label\":\"b\"}\n",
        "!1:no_label;!2:no_text;!3:empty_text;!4:json;!5:json;!6:json;!7:type;!8:nul;!9:not_utf8;"
        "!10:bad_label;!11:no_text;*|a|b;");
}

/* An empty file of lines has no rows, and is no error. */
static void test_jsonl_may_be_empty(void **state)
{
    (void)state;
    expect_span(&(struct ingest_options){.format = INGEST_JSONL}, span_make(NULL, 0), "");
}

/* Nesting beyond the limit is a bad line, not a crash. */
static void test_jsonl_deep_nesting_is_refused(void **state)
{
    (void)state;
    struct buf deep;
    buf_init(&deep, 1 << 20);
    assert_int_equal(buf_add_text(&deep, "{\"text\":\"a\",\"label\":\"b\",\"x\":"), 0);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_add_text(&deep, "["), 0);
    }
    assert_int_equal(buf_add_text(&deep, "\n{\"text\":\"a\",\"label\":\"b\"}\n"), 0);
    expect(INGEST_JSONL, buf_text(&deep), "!1:json;*|a|b;");
    buf_close(&deep);
}

/* A text, line or field beyond the limit is counted, and what follows is read. */
static void test_long_rows_are_passed_over(void **state)
{
    (void)state;
    struct buf b;
    struct ingest_options o = {.format = INGEST_CSV, .text_bytes_max = 10};
    expect_span(&o, span_of("text,label\n1234567890,a\r\n12345678901,a\nok,b\n"),
                "*|1234567890|a;!3:too_long;*|ok|b;");
    o.format = INGEST_JSONL;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_add_text(&b, "{\"text\":\"12345678901\",\"label\":\"a\"}\n{\"text\":\""),
                     0);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buf_add_text(&b, "y"), 0);
    }
    assert_int_equal(buf_add_text(&b, "\",\"label\":\"a\"}\n{\"text\":\"ok\",\"label\":\"b\"}"), 0);
    expect_span(&o, buf_span(&b), "!1:too_long;!2:too_long;*|ok|b;");
    buf_close(&b);
}

/* A million columns: in a header an error, in a row a bad row. */
static void test_a_million_columns(void **state)
{
    (void)state;
    struct buf b;
    struct seen s = {0};
    struct err_buf e = {{0}};
    struct ingest_options o = {.format = INGEST_CSV};
    buf_init(&b, 4 << 20);
    buf_init(&s.out, 1 << 10);
    assert_int_equal(buf_add_text(&b, "text,label\n"), 0);
    char *row = buf_reserve(&b, 1000000);
    assert_non_null(row);
    memset(row, ',', 1000000);
    buf_advance(&b, 1000000);
    assert_int_equal(buf_add_text(&b, "\na,b\n"), 0);
    assert_int_equal(read_steps(&o, buf_span(&b), 4096, &s, &e), 0);
    assert_string_equal(buf_text(&s.out), "!2:columns;*|a|b;");
    buf_consume(&b, strlen("text,label\n"));
    assert_int_equal(read_steps(&o, buf_span(&b), 4096, &s, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "4096 columns"));
    buf_close(&s.out);
    buf_close(&b);
}

/* Without a name that says it, the first line decides on the format. */
static void test_format_is_guessed(void **state)
{
    (void)state;
    expect(INGEST_AUTO, "{\"text\":\"a\",\"label\":\"b\"}\n", "*|a|b;");
    expect(INGEST_AUTO, "text\tlabel\na, c\tb\n", "*|a, c|b;");
    expect(INGEST_AUTO, "text,label\na,b\n", "*|a|b;");
    assert_int_equal(ingest_format_of_path("x/a.CSV.gz"), INGEST_CSV);
    assert_int_equal(ingest_format_of_path("a.ndjson"), INGEST_JSONL);
    assert_int_equal(ingest_format_of_path("-"), INGEST_AUTO);
}

/* Own names for the columns replace the usual ones. */
static void test_columns_may_be_named(void **state)
{
    (void)state;
    struct ingest_options o = {.format = INGEST_CSV, .text = "body", .label = "topic"};
    expect_span(&o, span_of("text,label,body,topic\n1,2,3,4\n"), "*|3|4;");
}

/* An error of the receiver stops the reading and comes back. */
static void test_receiver_stops_the_reading(void **state)
{
    (void)state;
    struct seen s = {.fail_at = 2};
    struct err_buf e = {{0}};
    struct ingest_options o = {.format = INGEST_CSV};
    buf_init(&s.out, 1 << 10);
    assert_int_equal(read_steps(&o, span_of("text,label\na,b\nc,d\ne,f\n"), 100, &s, &e),
                     ERR_DATABASE);
    assert_int_equal(s.rows, 2);
    buf_close(&s.out);
}

/* Whichever allocation fails, reading ends with out of memory or is complete. */
static void test_allocations_may_fail(void **state)
{
    (void)state;
    static const char *const texts[] = {"text,label\n\"a\nb\",c\n",
                                        "{\"text\":\"a\\n\",\"label\":\"b\"}\n"};
    struct ingest_options o = {0};
    for (int which = 0; which < 2; which++) {
        for (long countdown = 1; countdown < 12; countdown++) {
            struct seen s = {0};
            struct err_buf e = {{0}};
            buf_init(&s.out, 1 << 10);
            assert_int_equal(buf_add_text(&s.out, "room for all that will be written here"), 0);
            mem_fail_after(countdown);
            struct ingest *in = ingest_new(&o, on_row, on_bad, &s, &e);
            int rc = in ? ingest_feed(in, span_of(texts[which]), &e) : ERR_NOMEM;
            rc = rc || !in ? rc : ingest_finish(in, &e);
            mem_fail_after(0);
            assert_true(rc == 0 || rc == ERR_NOMEM);
            assert_int_equal(s.rows, rc == 0 ? 1 : 0);
            ingest_free(in);
            buf_close(&s.out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_columns_by_name),
        cmocka_unit_test(test_csv_quotes_crlf_and_bom),
        cmocka_unit_test(test_csv_bad_rows_name_their_line),
        cmocka_unit_test(test_tsv_with_lone_quotes),
        cmocka_unit_test(test_unreadable_files_end_with_a_reason),
        cmocka_unit_test(test_jsonl_rows),
        cmocka_unit_test(test_jsonl_bad_lines),
        cmocka_unit_test(test_jsonl_may_be_empty),
        cmocka_unit_test(test_jsonl_deep_nesting_is_refused),
        cmocka_unit_test(test_long_rows_are_passed_over),
        cmocka_unit_test(test_a_million_columns),
        cmocka_unit_test(test_format_is_guessed),
        cmocka_unit_test(test_columns_may_be_named),
        cmocka_unit_test(test_receiver_stops_the_reading),
        cmocka_unit_test(test_allocations_may_fail),
    };
    return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
