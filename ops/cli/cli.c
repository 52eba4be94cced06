/* Starting a command: finding it, reading its flags, connecting, ending with the right code. */
#include "ops/cli/cli.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/uuid.h"

#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_MS = 5000, FILE_BYTES_MAX = 16 * 1024 * 1024, KEY_SIZE = 256 };

static volatile sig_atomic_t interrupted;
static struct pg_sync *volatile running; /* the statement that Ctrl-C must end */

static void on_signal(int number)
{
    (void)number;
    if (interrupted) {
        _exit(CLI_INTERRUPTED);
    }
    interrupted = 1;
    if (running) {
        pg_sync_cancel(running);
    }
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
    struct sigaction ignore = {.sa_handler = SIG_DFL};
    (void)sigaction(SIGPIPE, &ignore, NULL); /* `meridian report ... | head` ends quietly */
}

bool cli_is_interrupted(void)
{
    return interrupted != 0;
}

/* Servers ----------------------------------------------------------------------------------- */

/* What to try when nothing answers; before it, which server was meant. */
static int unreachable(struct cli *c, int rc, const char *server, const char *url)
{
    char shown[256];
    size_t length = 0;
    (void)err_wrap(&c->e, rc, "%s %s", server, config_redact_url(url, shown, sizeof shown));
    length = strlen(c->e.text);
    if (rc == ERR_UNREACHABLE && strstr(c->e.text, "FATAL:")) {
        (void)snprintf(c->e.text + length, sizeof c->e.text - length,
                       "; it answers, but does not let us in: check user, password and database");
    } else if (rc == ERR_UNREACHABLE) {
        (void)snprintf(c->e.text + length, sizeof c->e.text - length,
                       "; is it running? (after ops/quickstart: . ops/env sets the addresses)");
    }
    return rc;
}

static int open_database(struct cli *c, const char *url, struct pg_sync **ret)
{
    if (*ret) {
        return 0;
    }
    if (!url) {
        return err_set(&c->e, ERR_INVALID, "no database: set MERIDIAN_DATABASE_URL");
    }
    int rc = pg_sync_open(ret, url, "meridian cli", CONNECT_MS, &c->e);
    if (rc) {
        return unreachable(c, rc, "PostgreSQL", url);
    }
    running = *ret;
    /* Six digits are enough for people; programs get them all. */
    rc = pg_sync_run(*ret, "SET timezone = 'UTC'", &c->e);
    if (rc == 0 && !c->o.json && !c->o.csv) {
        rc = pg_sync_run(*ret, "SET extra_float_digits = -9", &c->e);
    }
    return cli_explain(*ret, rc, &c->e);
}

int cli_control(struct cli *c)
{
    return open_database(c, c->common.database_url, &c->control);
}

int cli_data(struct cli *c)
{
    return open_database(c, c->common.data_url, &c->data);
}

int cli_redis(struct cli *c)
{
    if (c->redis) {
        return 0;
    }
    if (!c->common.redis_url) {
        return err_set(&c->e, ERR_INVALID, "no Redis: set MERIDIAN_REDIS_URL");
    }
    char key[KEY_SIZE];
    int rc = redis_sync_open(&c->redis, c->common.redis_url, "meridian-cli",
                             cli_redis_key(c, "intake", key, sizeof key), CONNECT_MS, &c->e);
    return rc ? unreachable(c, rc, "Redis", c->common.redis_url) : 0;
}

int cli_explain(const struct pg_sync *s, int rc, struct err_buf *e)
{
    if (rc == 0) {
        return 0;
    }
    const char *state = pg_sync_error(s)->sqlstate;
    const char *step = NULL;
    if (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0 || strcmp(state, "42883") == 0 ||
        strcmp(state, "42703") == 0) {
        step = "the database is older than this program: run meridian migrate";
    } else if (strcmp(state, "42501") == 0) {
        step = "this login may not do that: use one with the role meridian_admin";
    }
    if (step) {
        size_t length = strlen(e->text);
        (void)snprintf(e->text + length, sizeof e->text - length, "; %s", step);
    }
    return rc;
}

const char *cli_redis_key(const struct cli *c, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "{%s}:%s", c->common.redis_prefix, name);
    return out;
}

/* Small helpers ----------------------------------------------------------------------------- */

const char *cli_actor(void)
{
    static char name[64];
    if (!*name) {
        const struct passwd *p = getpwuid(getuid());
        (void)snprintf(name, sizeof name, "%s", p ? p->pw_name : "unknown");
    }
    return name;
}

int cli_usage(struct cli *c, const char *format, ...)
{
    va_list args;
    (void)fprintf(stderr, "meridian %s: ", c->command->name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "; see: meridian %s --help\n", c->command->name);
    return CLI_USAGE;
}

int cli_check_number(struct cli *c, const char *flag, const char *text)
{
    char *end = NULL;
    if (!text) {
        return 0;
    }
    (void)strtod(text, &end);
    if (end == text || *end) {
        return cli_usage(c, "%s: \"%s\" is no number", flag, text);
    }
    return 0;
}

static bool is_date(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    return end && (*end == 0 || *end == ' ' || *end == 'T');
}

int cli_parse_since(struct cli *c, const char *text, char *out, size_t size)
{
    int64_t ms = 0;
    if (!text) {
        (void)snprintf(out, size, "-infinity");
        return 0;
    }
    if (is_date(text)) {
        (void)snprintf(out, size, "%s", text);
        return 0;
    }
    if (config_parse_duration(text, &ms, NULL) || ms <= 0) {
        return cli_usage(
            c, "--since: \"%s\" is neither a duration (7d, 12h) nor a date (2026-11-23)", text);
    }
    if (ms > clock_wall_ms()) {
        return cli_usage(c, "--since: \"%s\" is before 1970: leave it out to see all", text);
    }
    (void)clock_format_utc(clock_wall_ms() - ms, out, size);
    return 0;
}

int cli_check_ids(struct cli *c)
{
    for (size_t i = 0; i < c->arg_count; i++) {
        if (!uuid_is_valid(c->args[i], strlen(c->args[i]))) {
            return cli_usage(c, "\"%s\" is no job id", c->args[i]);
        }
    }
    return 0;
}

bool cli_is_terminal(FILE *stream)
{
    const char *term = getenv("TERM");
    return isatty(fileno(stream)) && !(term && strcmp(term, "dumb") == 0);
}

void cli_sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    if (!interrupted) {
        (void)nanosleep(&t, NULL); /* a signal ends it early, which is the point */
    }
}

const char *cli_format_duration(int64_t ms, char *out, size_t size)
{
    long long s = (ms + 500) / 1000;
    if (ms < 0) {
        (void)snprintf(out, size, "?");
    } else if (s < 60) {
        (void)snprintf(out, size, "%lld s", s);
    } else if (s < 3600) {
        (void)snprintf(out, size, "%lld min %02lld s", s / 60, s % 60);
    } else {
        (void)snprintf(out, size, "%lld h %02lld min", s / 3600, s / 60 % 60);
    }
    return out;
}

const char *cli_array(const char *const *texts, size_t count, struct buf *out)
{
    buf_reset(out);
    if (count == 0 || pg_array_add(out, texts, count)) {
        return NULL;
    }
    return buf_text(out);
}

static int read_stream(FILE *f, struct buf *out)
{
    char block[8192];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0) {
        int rc = buf_add(out, block, n);
        if (rc) {
            return rc;
        }
    }
    return ferror(f) ? ERR_IO : 0;
}

int cli_read_file(const char *path, struct buf *out, struct err_buf *e)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    if (!f) {
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    }
    int rc = read_stream(f, out);
    if (!is_stdin) {
        (void)fclose(f); /* only read */
    }
    return rc ? err_set(e, rc, "%s: %s", path, err_text(rc)) : 0;
}

/* Running ----------------------------------------------------------------------------------- */

static int exit_code_of(int rc)
{
    if (rc >= 0) {
        return rc;
    }
    if (interrupted) {
        return CLI_INTERRUPTED;
    }
    return rc == ERR_UNREACHABLE ? CLI_UNREACHABLE : CLI_FAILED;
}

static void close_all(struct cli *c)
{
    running = NULL;
    pg_sync_close(c->control);
    pg_sync_close(c->data);
    redis_sync_close(c->redis);
}

static int run_command(struct cli *c)
{
    int rc = c->command->run(c);
    int code = exit_code_of(rc);
    if (rc < 0 && interrupted) {
        (void)fprintf(stderr, "\nmeridian %s: interrupted\n", c->command->name);
    } else if (rc < 0) {
        const char *text = *c->e.text ? c->e.text : err_text(rc);
        (void)fprintf(stderr, "meridian %s: %s\n", c->command->name, text);
    }
    if (fflush(c->out) != 0 && code == CLI_DONE) {
        (void)fprintf(stderr, "meridian %s: cannot write: %s\n", c->command->name, strerror(errno));
        code = CLI_FAILED;
    }
    close_all(c);
    return code;
}

/* argv behind the command's words; its first element stands where a program's name would. */
static int load_and_run(struct cli *c, int argc, char **argv)
{
    struct config_table tables[] = {
        {c->command->flags, c->command->flag_count, &c->o},
        cli_output_table(&c->o),
        config_common_table(&c->common),
    };
    int count = 0;
    int rc = config_load(tables, sizeof tables / sizeof *tables, argc, argv, &count, &c->e);
    if (rc == 0 && c->common.help) {
        cli_print_command_help(stdout, c->command);
        return CLI_DONE;
    }
    if (rc == 0 && c->common.version) {
        (void)printf("meridian %s\n", MERIDIAN_VERSION);
        return CLI_DONE;
    }
    rc = rc ? rc : config_common_finish(&c->common, &c->e);
    if (rc) {
        return cli_usage(c, "%s", c->e.text);
    }
    c->args = (const char *const *)(argv + 1);
    c->arg_count = (size_t)count;
    if (c->arg_count < c->command->arg_min || c->arg_count > c->command->arg_max) {
        return cli_usage(c,
                         c->arg_count < c->command->arg_min ? "an argument is missing (%s)"
                                                            : "too many arguments (%s)",
                         *c->command->args ? c->command->args : "it takes none");
    }
    return run_command(c);
}

static int no_command(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_usage(stdout);
        return argc < 2 ? CLI_USAGE : CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("meridian %s\n", MERIDIAN_VERSION);
        return CLI_DONE;
    }
    (void)fprintf(stderr, "meridian: \"%s\" is no command; see: meridian help\n", argv[1]);
    size_t length = strlen(argv[1]);
    for (size_t i = 0; cli_command_at(i); i++) {
        const char *name = cli_command_at(i)->name;
        if (strncmp(name, argv[1], length) == 0 && name[length] == ' ') {
            (void)fprintf(stderr, "  meridian %s %s\n", name, cli_command_at(i)->args);
        }
    }
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    static struct cli c; /* large lists of flags; one per process */
    int words = 0;
    catch_signals();
    log_open("cli");
    c = (struct cli){.out = stdout};
    c.command = cli_command_find(argc - 1, argv + 1, &words);
    if (!c.command) {
        return no_command(argc, argv);
    }
    return load_and_run(&c, argc - words, argv + words);
}
