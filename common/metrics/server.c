#include "common/metrics/server.h"

#include "common/base/mem.h"
#include "common/metrics/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 16,   /* scrapers and probes; one more is closed at once */
    CLIENT_MS = 5000,   /* from the connection to the last byte of the answer */
    BODY_MAX = 1 << 20, /* a thousand regions fit */
    HEAD_SIZE = 256,
    WHY_SIZE = 256,
    HOST_SIZE = 64
};

struct client {
    struct metrics_server *server;
    uv_tcp_t tcp;
    uv_timer_t deadline;
    uv_write_t write;
    char request[REQUEST_BYTES_MAX];
    size_t length;
    char head[HEAD_SIZE];
    struct buf body;
    int handles; /* not yet closed */
    bool is_answered;
    struct client *next;
};

struct metrics_server {
    struct metrics_server_options options;
    uv_tcp_t listener;
    struct client *clients;
    int client_count;
    bool is_closing;
    bool is_listener_closed;
};

static void free_if_done(struct metrics_server *s)
{
    if (s->is_closing && s->is_listener_closed && s->client_count == 0) {
        mem_free(s);
    }
}

/* --- one connection -------------------------------------------------------------------------- */

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->handles > 0) {
        return;
    }
    struct metrics_server *s = c->server;
    struct client **at = &s->clients;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    s->client_count--;
    buf_close(&c->body);
    mem_free(c);
    free_if_done(s);
}

static void client_close(struct client *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, on_client_closed);
        uv_close((uv_handle_t *)&c->deadline, on_client_closed);
    }
}

static void on_written(uv_write_t *write, int status)
{
    (void)status; /* nobody to tell: the client is gone, or has its answer */
    client_close(write->data);
}

static void send_answer(struct client *c, const char *status, const char *type, bool has_body)
{
    int n = snprintf(c->head, sizeof c->head,
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                     status, type, c->body.length);
    uv_buf_t parts[2] = {uv_buf_init(c->head, (unsigned)n),
                         uv_buf_init(c->body.data, has_body ? (unsigned)c->body.length : 0)};
    c->is_answered = true;
    c->write.data = c;
    (void)uv_read_stop((uv_stream_t *)&c->tcp); /* cannot fail */
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, parts, 2, on_written)) {
        client_close(c);
    }
}

static void answer_text(struct client *c, const char *status, const char *text)
{
    buf_reset(&c->body);
    int rc = buf_add_format(&c->body, "%s\n", text);
    send_answer(c, status, "text/plain; charset=utf-8", rc == 0);
}

static void answer(struct client *c, const struct request *request)
{
    const struct metrics_server_options *o = &c->server->options;
    char why[WHY_SIZE] = "";
    if (strcmp(request->path, "/metrics") == 0) {
        if (o->write(&c->body, o->data)) {
            answer_text(c, "500 Internal Server Error", "out of room for the metrics");
        } else {
            send_answer(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", !request->is_head);
        }
    } else if (strcmp(request->path, "/healthz") == 0) {
        bool is_healthy = o->is_healthy(why, sizeof why, o->data);
        answer_text(c, is_healthy ? "200 OK" : "503 Service Unavailable", why);
    } else {
        answer_text(c, "404 Not Found", "there are /metrics and /healthz");
    }
}

static void judge(struct client *c)
{
    struct request request;
    switch (request_read(span_make(c->request, c->length), &request)) {
    case REQUEST_MORE:
        break;
    case REQUEST_GOOD:
        answer(c, &request);
        break;
    case REQUEST_BAD:
        answer_text(c, "400 Bad Request", "not an HTTP/1 request");
        break;
    case REQUEST_TOO_LONG:
        answer_text(c, "431 Request Header Fields Too Large", "the request is too long");
        break;
    case REQUEST_NO_METHOD:
        answer_text(c, "405 Method Not Allowed", "only GET and HEAD");
        break;
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct client *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->request + c->length, (unsigned)(sizeof c->request - c->length));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *part)
{
    struct client *c = stream->data;
    (void)part; /* lies in the request */
    if (got < 0) {
        client_close(c);
    } else if (!c->is_answered) {
        c->length += (size_t)got;
        judge(c);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    client_close(timer->data);
}

static void client_start(struct metrics_server *s, struct client *c)
{
    c->server = s;
    c->tcp.data = c;
    c->deadline.data = c;
    c->handles = 2;
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    buf_init(&c->body, BODY_MAX);
    /* Neither can fail. */
    (void)uv_tcp_init(s->options.loop, &c->tcp);
    (void)uv_timer_init(s->options.loop, &c->deadline);
    (void)uv_timer_start(&c->deadline, on_deadline, CLIENT_MS, 0);
}

static void on_refused(uv_handle_t *handle)
{
    mem_free(handle);
}

/* One too many: it must be accepted to be got rid of. */
static void refuse(struct metrics_server *s)
{
    uv_tcp_t *tcp = mem_new(sizeof *tcp);
    if (tcp) {
        (void)uv_tcp_init(s->options.loop, tcp);                          /* cannot fail */
        (void)uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)tcp); /* closed either way */
        uv_close((uv_handle_t *)tcp, on_refused);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct metrics_server *s = listener->data;
    if (status < 0 || s->is_closing) {
        return;
    }
    struct client *c = s->client_count < CLIENTS_MAX ? mem_new(sizeof *c) : NULL;
    if (!c) {
        refuse(s);
        return;
    }
    client_start(s, c);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) ||
        uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read)) {
        client_close(c);
    }
}

/* --- the server ------------------------------------------------------------------------------ */

/* "[::1]:9464", "127.0.0.1:9464", "localhost:9464", ":9464" */
static int parse_address(const char *text, struct sockaddr_storage *ret, struct err_buf *e)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    char host[HOST_SIZE];
    char *end = NULL;
    long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    if (port < 0 || port > 65535 || *end || length >= sizeof host) {
        return err_set(e, ERR_INVALID, "\"%.80s\" is not HOST:PORT", text);
    }
    bool is_six = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(is_six ? length - 2 : length),
                   is_six ? text + 1 : text);
    const char *name = host[0] == '\0' || strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    int rc = is_six ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret)
                    : uv_ip4_addr(name, (int)port, (struct sockaddr_in *)ret);
    return rc ? err_set(e, ERR_INVALID,
                        "\"%.80s\": the host must be an address, such as 127.0.0.1 or [::1]", text)
              : 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct metrics_server *s = handle->data;
    s->is_listener_closed = true;
    free_if_done(s);
}

int metrics_server_new(struct metrics_server **ret, const struct metrics_server_options *options,
                       struct err_buf *e)
{
    struct sockaddr_storage address;
    int rc = parse_address(options->address, &address, e);
    if (rc) {
        return rc;
    }
    struct metrics_server *s = mem_new(sizeof *s);
    if (!s) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    s->options = *options;
    s->listener.data = s;
    (void)uv_tcp_init(options->loop, &s->listener); /* cannot fail */
    int failed = uv_tcp_bind(&s->listener, (const struct sockaddr *)&address, 0);
    failed = failed ? failed : uv_listen((uv_stream_t *)&s->listener, CLIENTS_MAX, on_connection);
    if (failed) {
        metrics_server_close(s);
        return err_set(e, ERR_IO, "cannot listen on %.80s: %s", options->address,
                       uv_strerror(failed));
    }
    *ret = s;
    return 0;
}

int metrics_server_port(const struct metrics_server *s)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &size)) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

void metrics_server_close(struct metrics_server *s)
{
    if (!s || s->is_closing) {
        return;
    }
    s->is_closing = true;
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    for (struct client *c = s->clients; c; c = c->next) {
        client_close(c);
    }
}
