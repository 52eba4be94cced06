/* What is said on a new connection, and what a refusal means to the one who has to repair it. */
#include "common/redis/redis_int.h"

#include <string.h>

bool redis__name_is_valid(const char *name)
{
    for (; name && *name; name++) {
        if (*name <= ' ' || *name > '~') {
            return false;
        }
    }
    return true;
}

static size_t put(struct span args[3], const char *a, const char *b, const char *c)
{
    const char *texts[3] = {a, b, c};
    size_t count = 0;
    while (count < 3 && texts[count]) {
        args[count] = span_of(texts[count]);
        count++;
    }
    return count;
}

static bool is_sentinel_step(enum redis__step step)
{
    return step == REDIS__STEP_SENTINEL_AUTH || step == REDIS__STEP_SENTINEL;
}

size_t redis__step_args(enum redis__step step, const struct redis__url *url,
                        const struct redis__caller *caller, struct span args[3])
{
    if (is_sentinel_step(step) != url->is_at_sentinel) {
        return 0;
    }
    switch (step) {
    case REDIS__STEP_SENTINEL_AUTH:
        return url->sentinel_password[0] ? put(args, "AUTH", url->sentinel_password, NULL) : 0;
    case REDIS__STEP_SENTINEL:
        return put(args, "SENTINEL", "get-master-addr-by-name", url->master);
    case REDIS__STEP_AUTH:
        if (!url->has_password) {
            return 0;
        }
        return url->user[0] ? put(args, "AUTH", url->user, url->password)
                            : put(args, "AUTH", url->password, NULL);
    case REDIS__STEP_SELECT:
        return strcmp(url->db, "0") == 0 ? 0 : put(args, "SELECT", url->db, NULL);
    case REDIS__STEP_SETNAME:
        return caller->name && caller->name[0] ? put(args, "CLIENT", "SETNAME", caller->name) : 0;
    case REDIS__STEP_ROLE:
        return put(args, "ROLE", NULL, NULL);
    case REDIS__STEP_PING:
        return put(args, "PING", NULL, NULL);
    case REDIS__STEP_SLOT:
        return caller->key ? put(args, "EXISTS", caller->key, NULL) : 0;
    case REDIS__STEP_SUBSCRIBE:
        return caller->channel ? put(args, "SUBSCRIBE", caller->channel, NULL) : 0;
    default:
        return 0;
    }
}

static bool has_word(struct span text, const char *word)
{
    return text.data && memmem(text.data, text.length, word, strlen(word)) != NULL;
}

static const char *advice(enum redis__step step, struct span text)
{
    if (has_word(text, "NOAUTH")) {
        return "it wants a password: write redis://user:password@host";
    }
    if (step == REDIS__STEP_SENTINEL_AUTH) {
        return "the Sentinel refuses its password: write ?sentinel_password=P at the URL's end";
    }
    if (step == REDIS__STEP_AUTH) {
        return "user or password are refused: look at the URL";
    }
    if (has_word(text, "NOPERM")) {
        return "the user may not do this: see its ACL";
    }
    if (step == REDIS__STEP_SELECT) {
        return "the database number is refused: look at the URL";
    }
    if (has_word(text, "LOADING")) {
        return "it still loads its data";
    }
    return "it refused the connection";
}

static int refused(enum redis__step step, const struct redis__url *url,
                   const struct redis_reply *reply, struct err_buf *e)
{
    struct span text = redis_reply_text(reply);
    int code = redis__reply_code(reply);
    return err_set(e, code, "redis at %.200s: %s (%.*s)", url->shown, advice(step, text),
                   text.length < 160 ? (int)text.length : 160, text.data);
}

static int check_role(const struct redis__url *url, const struct redis_reply *reply,
                      struct err_buf *e)
{
    struct span role = redis_reply_text(redis_reply_at(reply, 0));
    if (role.data && span_is(role, "master")) {
        return 0;
    }
    return err_set(e, ERR_UNREACHABLE, "redis at %.200s is a %.*s, not the master", url->shown,
                   role.length < 40 ? (int)role.length : 40, role.data ? role.data : "");
}

/* [host, port], or nil for a name that the Sentinel does not watch. */
static int take_master(struct redis__url *url, const struct redis_reply *reply, struct err_buf *e)
{
    struct span host = redis_reply_text(redis_reply_at(reply, 0));
    struct span port = redis_reply_text(redis_reply_at(reply, 1));
    if (redis_reply_type(reply) == REDIS_TYPE_NIL) {
        return err_set(e, ERR_UNREACHABLE,
                       "redis at %.200s watches no master \"%.100s\": look at the URL", url->shown,
                       url->master);
    }
    if (!host.data || !port.data || redis__url_aim(url, host, port) != 0) {
        return err_set(e, ERR_UNREACHABLE, "redis at %.200s named no usable address", url->shown);
    }
    return REDIS__ELSEWHERE;
}

int redis__step_check(enum redis__step step, struct redis__url *url,
                      const struct redis_reply *reply, struct err_buf *e)
{
    if (step == REDIS__STEP_SLOT && redis__reply_is_moved(reply, url)) {
        return REDIS__ELSEWHERE;
    }
    if (redis_reply_type(reply) == REDIS_TYPE_ERROR) {
        return refused(step, url, reply, e);
    }
    if (step == REDIS__STEP_SENTINEL) {
        return take_master(url, reply, e);
    }
    return step == REDIS__STEP_ROLE ? check_role(url, reply, e) : 0;
}
