/* The parts of common/redis that need no server: addresses, states, waits, protocol, greeting. */
#include "common/base/rng.h"
#include "common/redis/redis_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- address --------------------------------------------------------------------------------- */

/* Every form of address that the header promises is read into its parts. */
static void test_redis_url_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool is_unix;
        const char *host;
        const char *port;
        const char *user;
        const char *password;
        const char *db;
        const char *shown;
    } cases[] = {
        {"redis://h", false, "h", "6379", "", "", "0", "h:6379"},
        {"redis://h/", false, "h", "6379", "", "", "0", "h:6379"},
        {"redis://h:1/15", false, "h", "1", "", "", "15", "h:1"},
        {"redis://u:p@h:65535", false, "h", "65535", "u", "p", "0", "h:65535"},
        {"redis://:p%40%2f%3a@h/2", false, "h", "6379", "", "p@/:", "2", "h:6379"},
        {"redis://u:a:b@c@h", false, "h", "6379", "u", "a:b@c", "0", "h:6379"},
        {"redis://[::1]:7/1", false, "::1", "7", "", "", "1", "[::1]:7"},
        {"redis://[fe80::1]", false, "fe80::1", "6379", "", "", "0", "[fe80::1]:6379"},
        {"unix:///a/b.sock", true, "/a/b.sock", "", "", "", "0", "unix:/a/b.sock"},
        {"unix:///a%20b?db=4", true, "/a b", "", "", "", "4", "unix:/a b"},
        {"unix://u:p@/a", true, "/a", "", "u", "p", "0", "unix:/a"},
        {"redis://a:1,b,[::1]:3/2", false, "a", "1", "", "", "2", "a:1"},
        {"redis+sentinel://s/m", false, "s", "26379", "", "", "0", "s:26379 (sentinel)"},
        {"redis+sentinel://u:p@s:1,t/m/4?sentinel_password=q", false, "s", "1", "u", "p", "4",
         "s:1 (sentinel)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis__url url;
        struct err_buf e = {0};
        assert_int_equal(redis__url_parse(&url, cases[i].url, &e), 0);
        assert_int_equal(url.is_unix, cases[i].is_unix);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.port, cases[i].port);
        assert_string_equal(url.user, cases[i].user);
        assert_string_equal(url.password, cases[i].password);
        assert_int_equal(url.has_password, cases[i].password[0] != '\0');
        assert_string_equal(url.db, cases[i].db);
        assert_string_equal(url.shown, cases[i].shown);
    }
}

/* What cannot be read is refused, and the message never holds the password. */
static void test_redis_url_nonsense_is_refused_without_the_password(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "h:6379",
        "http://u:sesame@h",
        "rediss://u:sesame@h",
        "redis://",
        "redis:///1",
        "redis://:sesame@",
        "redis://sesame@h",
        "redis://u:@h",
        "redis://:ses/ame@h",
        "redis://:sesame%@h",
        "redis://:sesame%4@h",
        "redis://:sesame%zz@h",
        "redis://:sesame%00@h",
        "redis://:sesame@h:0",
        "redis://:sesame@h:65536",
        "redis://:sesame@h:1x",
        "redis://:sesame@h:",
        "redis://:sesame@h/x",
        "redis://:sesame@h/-1",
        "redis://:sesame@h/99999999999",
        "redis://:sesame@[::1",
        "redis://:sesame@[::1]x",
        "redis://:sesame@[]:1",
        "unix://path",
        "unix://:sesame@path",
        "unix:///a?db=",
        "unix:///a?password=sesame",
        "redis://:sesame@a,",
        "redis://:sesame@,a",
        "redis://:sesame@a,b:0",
        "redis://:sesame@1,2,3,4,5,6,7,8,9",
        "redis+sentinel://:sesame@s",
        "redis+sentinel://:sesame@s/",
        "redis+sentinel://:sesame@s/m/x",
        "redis+sentinel://:sesame@s/m?password=sesame",
        "redis+sentinel://:sesame@s/m?sentinel_password=sesame%zz",
        NULL,
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct redis__url url;
        struct err_buf e = {0};
        assert_int_equal(redis__url_parse(&url, urls[i], &e), ERR_INVALID);
        assert_true(e.text[0] != '\0');
        assert_null(strstr(e.text, "ses"));
        assert_string_equal(url.password, "");
    }
}

/* Parts that are too long are refused, whatever the part. */
static void test_redis_url_long_parts_are_refused(void **state)
{
    (void)state;
    static const char *const forms[] = {"redis://:%s@h", "redis://%s:p@h", "redis://%s",
                                        "unix:///%s"};
    static char part[REDIS__TEXT_MAX + 2];
    static char text[REDIS__TEXT_MAX + 64];
    memset(part, 'x', REDIS__TEXT_MAX + 1);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *at = strstr(forms[i], "%s");
        size_t before = (size_t)(at - forms[i]);
        memcpy(text, forms[i], before);
        strcpy(text + before, part);
        strcat(text, at + 2);
        struct redis__url url;
        struct err_buf e = {0};
        assert_int_equal(redis__url_parse(&url, text, &e), ERR_INVALID);
    }
}

/* No change of one byte makes the parser leave its bounds (run under the sanitizers). */
static void test_redis_url_survives_changed_bytes(void **state)
{
    (void)state;
    static const char seed[] = "redis://user:p%40ss@[::1]:6379/12";
    static const char other[] = "unix://:p@/run/redis.sock?db=3";
    struct rng rng = {.key = 7};
    int read = 0;
    for (int i = 0; i < 20000; i++) {
        const char *from = i % 2 ? seed : other;
        char text[64];
        strcpy(text, from);
        size_t length = strlen(text);
        for (int n = 0; n < 2; n++) {
            text[rng_below(&rng, (uint32_t)length)] = (char)rng_below(&rng, 256);
        }
        struct redis__url url;
        struct err_buf e = {0};
        int rc = redis__url_parse(&url, text, &e);
        assert_true(rc == 0 || rc == ERR_INVALID);
        read += rc == 0;
    }
    assert_true(read > 100 && read < 19900);
}

/* --- states ---------------------------------------------------------------------------------- */

/* The table allows what the diagram of redis.h shows, and nothing else. */
static void test_redis_states_move_as_drawn(void **state)
{
    (void)state;
    static const char *const rows[REDIS__STATE_COUNT] = {
        /* I R C G R W C C */
        "01000010", /* IDLE */
        "00100110", /* RESOLVING */
        "00010110", /* CONNECTING */
        "01001110", /* GREETING */
        "00000110", /* READY */
        "01000010", /* WAITING */
        "00000001", /* CLOSING */
        "00000000", /* CLOSED */
    };
    for (int from = 0; from < REDIS__STATE_COUNT; from++) {
        for (int to = 0; to < REDIS__STATE_COUNT; to++) {
            bool may = redis__state_may_move((enum redis__state)from, (enum redis__state)to);
            assert_int_equal(may, rows[from][to] == '1');
        }
    }
    assert_string_equal(redis__state_text(REDIS__STATE_READY), "READY");
}

/* The wait doubles up to its maximum; chance takes at most half of it. */
static void test_redis_backoff_doubles_with_jitter(void **state)
{
    (void)state;
    static const int64_t full[] = {50, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (unsigned attempt = 0; attempt < sizeof full / sizeof full[0]; attempt++) {
        assert_int_equal(redis__backoff_ms(attempt, 50, 5000, 0.0), full[attempt] / 2);
        int64_t high = redis__backoff_ms(attempt, 50, 5000, 0.999999);
        assert_true(high <= full[attempt] && high >= full[attempt] - 1);
    }
    assert_int_equal(redis__backoff_ms(4000000000u, 1, INT64_MAX / 4, 0.0),
                     INT64_MAX / 4 - INT64_MAX / 4 / 2);
    assert_int_equal(redis__backoff_ms(0, 500, 100, 0.0), 50);
}

/* --- protocol -------------------------------------------------------------------------------- */

/* A command is an array of bulk strings, with any bytes; what does not fit changes nothing. */
static void test_redis_commands_are_encoded(void **state)
{
    (void)state;
    struct buf out;
    const struct span args[3] = {span_of("SET"), span_make("a\0b", 3), span_make(NULL, 0)};
    const char expected[] = "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n";
    buf_init(&out, 200);
    assert_int_equal(redis__encode(&out, args, 3), 0);
    assert_int_equal(out.length, sizeof expected - 1);
    assert_memory_equal(out.data, expected, sizeof expected - 1);
    assert_int_equal(redis__encode(&out, args, 0), ERR_INVALID);
    const struct span missing[1] = {span_make(NULL, 1)};
    assert_int_equal(redis__encode(&out, missing, 1), ERR_INVALID);
    const struct span huge[1] = {span_make("x", SIZE_MAX)};
    assert_int_equal(redis__encode(&out, huge, 1), ERR_LIMIT);
    size_t before = out.length;
    while (redis__encode(&out, args, 3) == 0) {
        before = out.length;
    }
    assert_int_equal(out.length, before);
    assert_true(out.length <= 200);
    buf_close(&out);
}

/* Feeds text one byte after the other and gives the reply; NULL when the reader refuses. */
static struct redis_reply *read_reply(const char *text, int *ret_rc)
{
    struct redisReader *reader = redis__reader_new();
    struct redis_reply *reply = NULL;
    struct err_buf e = {0};
    *ret_rc = 0;
    for (size_t i = 0; text[i] && *ret_rc == 0; i++) {
        assert_int_equal(redis__reader_feed(reader, text + i, 1, &e), 0);
        *ret_rc = redis__reader_next(reader, &reply, &e);
    }
    redis__reader_free(reader);
    return reply;
}

/* Replies of every type are told apart, also when they come byte by byte. */
static void test_redis_replies_have_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum redis_type type;
        const char *content;
        int64_t integer;
    } cases[] = {
        {"+OK\r\n", REDIS_TYPE_STATUS, "OK", 0},   {"-ERR no\r\n", REDIS_TYPE_ERROR, "ERR no", 0},
        {":-42\r\n", REDIS_TYPE_INTEGER, "", -42}, {"$3\r\na\rb\r\n", REDIS_TYPE_TEXT, "a\rb", 0},
        {"$0\r\n\r\n", REDIS_TYPE_TEXT, "", 0},    {"$-1\r\n", REDIS_TYPE_NIL, "", 0},
        {"*-1\r\n", REDIS_TYPE_NIL, "", 0},        {"*2\r\n:1\r\n:2\r\n", REDIS_TYPE_ARRAY, "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = 0;
        struct redis_reply *reply = read_reply(cases[i].text, &rc);
        assert_int_equal(rc, 1);
        assert_int_equal(redis_reply_type(reply), cases[i].type);
        assert_true(span_is(redis_reply_text(reply), cases[i].content));
        assert_int_equal(redis_reply_integer(reply), cases[i].integer);
        redis__reply_free(reply);
    }
    assert_int_equal(redis_reply_type(NULL), REDIS_TYPE_NONE);
    assert_int_equal(redis_reply_count(NULL), 0);
    assert_null(redis_reply_at(NULL, 0));
    assert_null(redis_reply_text(NULL).data);
}

/* What is not the protocol, and what nests without end, is refused. */
static void test_redis_replies_malformed_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"HTTP/1.1 200 OK\r\n", "*99999999999999\r\n", "$-5\r\n",
                                        ":12x\r\n"};
    int rc = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_null(read_reply(texts[i], &rc));
        assert_int_equal(rc, ERR_CORRUPT);
    }
    assert_null(
        read_reply("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", &rc));
    assert_true(rc == ERR_LIMIT || rc == ERR_CORRUPT);
}

/* The first word of an error decides its code; only a whole word counts. */
static void test_redis_errors_are_mapped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        bool is_demotion;
    } cases[] = {
        {"-NOGROUP No such key\r\n", ERR_NOTFOUND, false},
        {"-BUSYGROUP exists\r\n", ERR_EXISTS, false},
        {"-LOADING Redis is loading\r\n", ERR_UNREACHABLE, false},
        {"-READONLY You can't\r\n", ERR_UNREACHABLE, true},
        {"-MASTERDOWN Link\r\n", ERR_UNREACHABLE, true},
        {"-CLUSTERDOWN x\r\n", ERR_UNREACHABLE, false},
        {"-OOM command not allowed\r\n", ERR_LIMIT, false},
        {"-MISCONF Errors writing to the AOF file: No space left\r\n", ERR_IO, false},
        {"-OOMPH x\r\n", ERR_INVALID, false},
        {"-WRONGTYPE x\r\n", ERR_INVALID, false},
        {"+OOM is fine here\r\n", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = 0;
        struct redis_reply *reply = read_reply(cases[i].text, &rc);
        assert_int_equal(redis__reply_code(reply), cases[i].code);
        assert_int_equal(redis__reply_is_demotion(reply), cases[i].is_demotion);
        redis__reply_free(reply);
    }
}

struct entries {
    int count;
    char text[128];
};

static void on_entry(const struct redis_entry *entry, void *data)
{
    struct entries *entries = data;
    entries->count++;
    strncat(entries->text, entry->id.data, entry->id.length);
    strcat(entries->text, "=");
    if (entry->message.data) {
        strncat(entries->text, entry->message.data, entry->message.length);
    } else {
        strcat(entries->text, "none");
    }
    strcat(entries->text, ";");
}

/* Entries of a stream: with the field, without it, deleted, and nil in place of one. */
static void test_redis_entries_are_visited(void **state)
{
    (void)state;
    static const char read[] =
        "*1\r\n*2\r\n$1\r\ns\r\n*4\r\n"
        "*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\nx\r\n$1\r\nm\r\n$1\r\nm\r\n$2\r\nhi\r\n"
        "*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n"
        "*2\r\n$3\r\n3-0\r\n*-1\r\n"
        "*-1\r\n";
    int rc = 0;
    struct redis_reply *reply = read_reply(read, &rc);
    struct entries entries = {0};
    assert_int_equal(rc, 1);
    assert_int_equal(redis_read_entries(reply, on_entry, &entries), 3);
    assert_int_equal(entries.count, 3);
    assert_string_equal(entries.text, "1-0=hi;2-0=none;3-0=none;");
    const struct redis_reply *list = redis_reply_at(redis_reply_at(reply, 0), 1);
    assert_int_equal(redis_range_entries(list, NULL, NULL), 3);
    redis__reply_free(reply);
    reply = read_reply("*-1\r\n", &rc);
    assert_int_equal(redis_read_entries(reply, on_entry, &entries), 0);
    redis__reply_free(reply);
}

/* --- greeting -------------------------------------------------------------------------------- */

/* Only what the address and the options ask for is said. */
static void test_redis_greeting_says_what_is_needed(void **state)
{
    (void)state;
    struct redis__url url;
    struct err_buf e = {0};
    struct span args[3];
    assert_int_equal(redis__url_parse(&url, "redis://h", &e), 0);
    const struct redis__caller nobody = {.name = NULL};
    assert_int_equal(redis__step_args(REDIS__STEP_AUTH, &url, &nobody, args), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_SELECT, &url, &nobody, args), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_SETNAME, &url, &nobody, args), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_ROLE, &url, &nobody, args), 1);
    assert_int_equal(redis__step_args(REDIS__STEP_SUBSCRIBE, &url, &nobody, args), 0);
    assert_int_equal(redis__url_parse(&url, "redis://u:p@h/3", &e), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_AUTH, &url, &nobody, args), 3);
    assert_true(span_is(args[2], "p"));
    assert_int_equal(redis__step_args(REDIS__STEP_SELECT, &url, &nobody, args), 2);
    assert_int_equal(
        redis__step_args(REDIS__STEP_SETNAME, &url, &(struct redis__caller){.name = "n"}, args), 3);
    assert_int_equal(redis__step_args(REDIS__STEP_SUBSCRIBE, &url,
                                      &(struct redis__caller){.channel = "c"}, args),
                     2);
    assert_true(redis__name_is_valid("worker-1") && redis__name_is_valid(NULL));
    assert_false(redis__name_is_valid("a b"));
    assert_false(redis__name_is_valid("a\n"));
}

/* The tries go round the hosts of the URL; what a Sentinel or a cluster named is aimed at until
 * then. */
static void test_redis_aim_goes_round_the_seeds(void **state)
{
    (void)state;
    struct redis__url url;
    struct err_buf e = {0};
    assert_int_equal(redis__url_parse(&url, "redis+sentinel://a:1,b:2/m", &e), 0);
    redis__url_aim_seed(&url, 3);
    assert_string_equal(url.shown, "b:2 (sentinel)");
    assert_int_equal(redis__url_aim(&url, span_of("10.0.0.1"), span_of("7000")), 0);
    assert_string_equal(url.shown, "10.0.0.1:7000");
    assert_int_equal(redis__url_aim(&url, span_of("fe80::1"), span_of("7001")), 0);
    assert_string_equal(url.shown, "[fe80::1]:7001");
    assert_int_equal(redis__url_aim(&url, span_of(""), span_of("1")), ERR_INVALID);
    assert_int_equal(redis__url_aim(&url, span_of("h"), span_of("0")), ERR_INVALID);
    assert_int_equal(redis__url_aim(&url, span_of("h"), span_of("65536")), ERR_INVALID);
    assert_int_equal(redis__url_aim(&url, span_of("h"), span_of("x")), ERR_INVALID);
    assert_string_equal(url.shown, "[fe80::1]:7001");
}

/* A Sentinel is only asked for the master, which is then greeted as any other server. */
static void test_redis_greeting_of_a_sentinel_asks_for_the_master(void **state)
{
    (void)state;
    const struct redis__caller caller = {.name = "n", .key = "{p}:intake"};
    struct redis__url url;
    struct err_buf e = {0};
    struct span args[3];
    int rc = 0;
    assert_int_equal(redis__url_parse(&url, "redis+sentinel://:p@s/m?sentinel_password=q", &e), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_SENTINEL_AUTH, &url, &caller, args), 2);
    assert_true(span_is(args[1], "q"));
    assert_int_equal(redis__step_args(REDIS__STEP_SENTINEL, &url, &caller, args), 3);
    assert_true(span_is(args[2], "m"));
    assert_int_equal(redis__step_args(REDIS__STEP_AUTH, &url, &caller, args), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_SLOT, &url, &caller, args), 0);
    struct redis_reply *reply = read_reply("*2\r\n$2\r\nhh\r\n$4\r\n7000\r\n", &rc);
    assert_int_equal(redis__step_check(REDIS__STEP_SENTINEL, &url, reply, &e), REDIS__ELSEWHERE);
    redis__reply_free(reply);
    assert_string_equal(url.shown, "hh:7000");
    assert_int_equal(redis__step_args(REDIS__STEP_SENTINEL, &url, &caller, args), 0);
    assert_int_equal(redis__step_args(REDIS__STEP_AUTH, &url, &caller, args), 2);
    assert_int_equal(redis__step_args(REDIS__STEP_SLOT, &url, &caller, args), 2);
}

/* What a cluster's node says about a key of another node. */
static void test_redis_moved_aims_at_the_node_that_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_moved;
        const char *shown;
    } cases[] = {
        {"-MOVED 3999 10.0.0.2:6381\r\n", true, "10.0.0.2:6381"},
        {"-MOVED 3999 fe80::2:6381\r\n", true, "[fe80::2]:6381"},
        {"-MOVED 3999 :6381\r\n", true, "h:6381"},
        {"-MOVED 3999 h\r\n", false, "h:1"},
        {"-MOVED\r\n", false, "h:1"},
        {"-MOVED 3999 h:99999\r\n", false, "h:1"},
        {"-ASK 3999 10.0.0.2:6381\r\n", false, "h:1"},
        {"+MOVED 3999 10.0.0.2:6381\r\n", false, "h:1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis__url url;
        struct err_buf e = {0};
        int rc = 0;
        assert_int_equal(redis__url_parse(&url, "redis://h:1", &e), 0);
        struct redis_reply *reply = read_reply(cases[i].text, &rc);
        assert_int_equal(redis__reply_is_moved(reply, &url), cases[i].is_moved);
        assert_string_equal(url.shown, cases[i].shown);
        redis__reply_free(reply);
    }
}

/* A refusal says what to repair. */
static void test_redis_greeting_refusals_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        enum redis__step step;
        const char *text;
        int code;
        const char *says;
    } cases[] = {
        {REDIS__STEP_ROLE, "-NOAUTH x\r\n", ERR_INVALID, "wants a password"},
        {REDIS__STEP_AUTH, "-WRONGPASS x\r\n", ERR_INVALID, "user or password are refused"},
        {REDIS__STEP_SELECT, "-ERR DB index\r\n", ERR_INVALID, "database number is refused"},
        {REDIS__STEP_ROLE, "-NOPERM x\r\n", ERR_INVALID, "ACL"},
        {REDIS__STEP_PING, "-LOADING x\r\n", ERR_UNREACHABLE, "still loads"},
        {REDIS__STEP_PING, "-ERR max number of clients\r\n", ERR_INVALID, "max number"},
        {REDIS__STEP_ROLE, "*1\r\n$5\r\nslave\r\n", ERR_UNREACHABLE, "not the master"},
        {REDIS__STEP_ROLE, "+OK\r\n", ERR_UNREACHABLE, "not the master"},
        {REDIS__STEP_ROLE, "*1\r\n$6\r\nmaster\r\n", 0, ""},
        {REDIS__STEP_PING, "+PONG\r\n", 0, ""},
        {REDIS__STEP_SENTINEL, "*-1\r\n", ERR_UNREACHABLE, "watches no master"},
        {REDIS__STEP_SENTINEL, "*1\r\n$1\r\nh\r\n", ERR_UNREACHABLE, "no usable address"},
        {REDIS__STEP_SENTINEL_AUTH, "-WRONGPASS x\r\n", ERR_INVALID, "sentinel_password"},
        {REDIS__STEP_SLOT, ":0\r\n", 0, ""},
        {REDIS__STEP_SLOT, "-CLUSTERDOWN x\r\n", ERR_UNREACHABLE, "CLUSTERDOWN"},
    };
    struct redis__url url;
    struct err_buf e = {0};
    assert_int_equal(redis__url_parse(&url, "redis://u:sesame@h", &e), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = 0;
        struct redis_reply *reply = read_reply(cases[i].text, &rc);
        e.text[0] = '\0';
        assert_int_equal(redis__step_check(cases[i].step, &url, reply, &e), cases[i].code);
        assert_non_null(strstr(e.text, cases[i].says));
        assert_null(strstr(e.text, "sesame"));
        redis__reply_free(reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_url_forms_are_read),
        cmocka_unit_test(test_redis_url_nonsense_is_refused_without_the_password),
        cmocka_unit_test(test_redis_url_long_parts_are_refused),
        cmocka_unit_test(test_redis_url_survives_changed_bytes),
        cmocka_unit_test(test_redis_states_move_as_drawn),
        cmocka_unit_test(test_redis_backoff_doubles_with_jitter),
        cmocka_unit_test(test_redis_commands_are_encoded),
        cmocka_unit_test(test_redis_replies_have_types),
        cmocka_unit_test(test_redis_replies_malformed_are_refused),
        cmocka_unit_test(test_redis_errors_are_mapped),
        cmocka_unit_test(test_redis_entries_are_visited),
        cmocka_unit_test(test_redis_greeting_says_what_is_needed),
        cmocka_unit_test(test_redis_greeting_refusals_say_what_to_do),
        cmocka_unit_test(test_redis_aim_goes_round_the_seeds),
        cmocka_unit_test(test_redis_greeting_of_a_sentinel_asks_for_the_master),
        cmocka_unit_test(test_redis_moved_aims_at_the_node_that_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
