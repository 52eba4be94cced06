/*
 * Inside of the supervisor, shared by its files. Everything here belongs to the loop thread.
 *
 *   supervisor.c  start, phases, signals, the tick that drives everything timed
 *   runners.c     slots and their processes: start, frames, stop, end
 *   assignment.c  what was given to us: taken, refused, handed to a runner
 *   record.c      PostgreSQL: hello, lease renewal and what it hands over, bye
 *   transport.c   Redis: ready messages in; reports, progress and log lines out
 *   waiting.c     jobs that wait for a runner
 *   recent.c      attempts that were taken lately
 *   outbox.c      results that are not yet known to be recorded
 *   metrics.c     what is counted, and whether it lives
 */
#ifndef WORKER_SUPERVISOR_SUPERVISOR_INT_H
#define WORKER_SUPERVISOR_SUPERVISOR_INT_H

#include "common/base/buf.h"
#include "common/base/uuid.h"
#include "common/message/message.h"
#include "common/metrics/server.h"
#include "common/pg/pg.h"
#include "common/redis/redis.h"
#include "worker/supervisor/outbox.h"
#include "worker/supervisor/phase.h"
#include "worker/supervisor/process.h"
#include "worker/supervisor/recent.h"
#include "worker/supervisor/slot.h"
#include "worker/supervisor/stall.h"
#include "worker/supervisor/supervisor.h"
#include "worker/supervisor/tail.h"
#include "worker/supervisor/waiting.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    TICK_MS = 200,          /* memory, deadlines, progress: everything timed is this exact */
    LEASE_TTL_MS = 15000,   /* what the contract grants */
    LEASE_EVERY_MS = 2000,  /* renewal */
    LEASE_LEAVING_MS = 500, /* then it only asks whether the results are recorded */
    LEASE_LOST_MS = 10000,  /* not renewed for so long: the job is killed before it is given away */
    /* Older than this an assignment is not begun: two seconds are left for its first renewal. */
    TAKE_WITHIN_MS = 8000,
    RENEW_TIMEOUT_MS = 4000,     /* leaves time for another try */
    STARTED_AFTER_MS = 100,      /* a job that is not over by then is told to the record soon, */
    STARTED_EVERY_MS = 500,      /* by a renewal of its own no more often than this */
    RECENT_MS = 10000,           /* longer than what is taken can be old */
    RECENT_MAX = 1 << 20,        /* 8 MB to 16 MB of fingerprints, when so many are taken in it */
    REPORT_EVERY_MS = 3000,      /* a result is sent again until it is recorded */
    LEAVE_AFTER_MS = 1000,       /* and left in the record when Redis is away for so long, */
    LEAVE_LATE_MS = 10000,       /* or when it leads nowhere */
    READ_BLOCK_MS = 2000,        /* of XREAD */
    KILL_AFTER_MS = 5000,        /* between SIGTERM and SIGKILL for cancel and time */
    KILL_AFTER_DRAIN_MS = 10000, /* a checkpoint of a gigabyte fits */
    EXIT_AFTER_MS = 2000,        /* for a runner that was told to exit */
    READY_WITHIN_MS = 30000,     /* for a runner that was started */
    LEAVE_WAIT_MS = 10000,       /* for the results to be recorded, before the supervisor ends */
    BYE_WAIT_MS = 2000,
    HELLO_EVERY_MS = 2000,         /* when the database refuses: not migrated yet, no rights */
    RUNNER_JOBS_MAX = 4096,        /* then replaced: leaks of libraries do not add up */
    RUNNER_GROWTH_KB = 256 * 1024, /* replaced when a job leaves so much behind */
    START_BACKOFF_MS_MAX = 5000,
    THREAD_DATA_KB = 10 * 1024, /* stack and arena of a thread, not the job's memory */
    QUIET_TOLD_MS = 10000,      /* watchers hear of a job without a step this often */
    MEASURE_EVERY = 16,         /* jobs of a runner that leave nothing behind, between two looks */
    MEASURE_GROWTH_KB = 1024,   /* more than this at its peak, and it is looked at again */
    LOG_OWN_MAX = 768,          /* a line of the supervisor's, with the reason of a failure */
    LOG_LINES_MAX = 200,        /* kept in Redis per job */
    LOG_LINES_PER_TICK = 10,    /* a chatty job loses lines, not Redis its memory */
    LOG_TRIM_EVERY = 50,        /* lines of a job between two cuts */
    LOG_KEEP_S = 7 * 24 * 3600,
    REPORTS_MAX = 100000, /* entries kept in the report stream when nobody reads it */
    RETURN_AFTER_MS =
        3000,            /* behind a job that takes longer than was expected: others may run it */
    WAITING_MAX = 16384, /* what is beyond is handed over again when there is room */
    SLOTS_MAX = 256,
    OUTBOX_MAX = 4096,
    CONFIRM_FROM = 64, /* results that wait to be recorded, from which on that is asked by itself */
    CONFIRM_EVERY = 256, /* results from one such question to the next, should a tick take longer */
    RENEW_TAIL_MAX = 2048,  /* bytes of last lines in a renewal: should this process be killed */
    RESULT_QUIET_MS = 1000, /* a result is named in renewals when it waits for longer */
    READ_MAX = 256,         /* entries of one read */
    ENTRY_ID_MAX = 48,
};

struct supervisor;

/* The socket to a runner; lives on its own because libuv closes handles later. */
struct link {
    uv_poll_t poll;
    int fd;
    bool is_closing;
    struct message_frames in;
    struct buf out;
    struct slot *slot; /* NULL once the slot has let go of it */
};

/* The job in a slot. */
struct held {
    struct message_ready job; /* its spec is owned */
    bool is_confirmed;        /* the record knows that it runs */
    int64_t lease_ms; /* the assignment, at the latest, or the start of the last good renewal */
    int64_t started_ms;
    int64_t end_ms;  /* time limit */
    int64_t kill_ms; /* SIGKILL at; 0 = not stopping */
    enum slot_stop stop;
    int64_t rss_kb;       /* when last measured */
    int64_t rss_limit_kb; /* of the whole process */
    int64_t peak_kb;
    struct message_progress progress;
    bool has_progress;
    bool is_progress_new; /* not yet published */
    int log_lines;        /* in this tick */
    int lines;            /* in all */
    int tail_sent;        /* lines of its tail that the newest renewal took along, */
    int tail_told;        /* and that the record has */
    char first_line[LOG_OWN_MAX];
    bool has_first_line; /* it was not told yet */
    struct stall stall;
    bool knows_stall_limit; /* the spec is read only for a job that is quiet */
    int64_t stall_limit_s;  /* of the spec, or STALL_AUTOMATIC */
    int64_t quiet_told_ms;  /* how long it was quiet when that was last told */
    char stalled[160];      /* of WEDGED: what was measured */
};

struct slot {
    struct supervisor *supervisor;
    int index;
    enum slot_state state;
    struct process process;
    struct link *link;
    int served;                   /* jobs of this process */
    int64_t fresh_kb;             /* its memory when it was ready */
    struct process_memory memory; /* between its jobs, with is_measured */
    bool is_measured;
    int64_t limit_kb; /* RLIMIT_DATA as it was last set; 0 = not known */
    int64_t kill_ms;  /* STARTING, LEAVING: SIGKILL at */
    int64_t start_ms; /* EMPTY: not before */
    int64_t backoff_ms;
    struct held held; /* valid when slot_has_job */
    struct tail tail; /* of the job's log */
};

struct supervisor {
    const struct supervisor_options *options;
    struct uuid incarnation;
    enum phase phase;
    int exit_code;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t on_child, on_term, on_int;
    struct slot *slots;
    int slot_count;
    struct outbox outbox;
    struct waiting waiting;
    struct recent recent;
    struct metrics *metrics;
    struct metrics_server *metrics_server; /* NULL unless asked for */
    int64_t tick_ms;                       /* of the last tick */
    /* drain */
    int signals;
    int64_t grace_end_ms; /* 0 = no limit */
    int64_t leave_end_ms;
    bool is_bye_sent;
    int byes_open;
    /* record */
    struct pg *pg;
    bool is_registered; /* hello was answered on this connection */
    bool was_registered;
    bool is_hello_open;
    int64_t hello_ms;
    bool is_renew_open;
    bool is_leave_open;
    bool is_confirm_open;
    bool must_renew;    /* at once */
    int64_t renew_ms;   /* start of the last renewal */
    int64_t renewed_ms; /* start of the last one that was answered well */
    /* transport */
    struct redis *commands;
    struct redis *reader;
    bool is_read_open;
    char read_ids[READ_MAX][ENTRY_ID_MAX]; /* entries to be deleted */
    size_t read_count;
    int64_t complain_at_ms; /* not before: about what Redis refuses */
    int64_t read_after_ms;
    bool is_hello_due; /* to the report stream */
    char ready_key[256], report_key[96], progress_key[96], log_prefix[96];
};

/* --- supervisor.c --- */
/* Slots that could take a job now; 0 unless UP. */
int supervisor_free(const struct supervisor *s);
/* Stops taking work; grace_ms < 0: jobs may go on for as long as they need. */
void supervisor_drain(struct supervisor *s, int64_t grace_ms);
/* Kills what runs and ends the loop. */
void supervisor_close(struct supervisor *s, int exit_code);
/* The slot that holds this attempt, or NULL. */
struct slot *supervisor_slot_of(struct supervisor *s, const char *job, int32_t attempt);

/* --- metrics.c --- */
MUST_CHECK int metrics_open(struct supervisor *s, struct err_buf *e);
void metrics_ended(struct supervisor *s, enum message_outcome outcome);
/* A renewal was answered. */
void metrics_renewed(struct supervisor *s, bool is_good);
void metrics_runner_started(struct supervisor *s);
void metrics_tick(struct supervisor *s, int64_t now);

/* --- runners.c --- */
/* Starts, kills and measures what is due. */
void runners_tick(struct supervisor *s, int64_t now);
/* Takes the ends of processes after SIGCHLD. */
void runners_reap(struct supervisor *s);
/* IDLE -> RUNNING. Takes the item. */
void runners_begin(struct slot *slot, struct waiting_item *item);
/* Asks the job of a RUNNING slot for a checkpoint; it goes on. */
void runners_save(struct slot *slot);
/* Stops the job of a RUNNING slot for a reason. */
void runners_stop(struct slot *slot, enum slot_stop stop);
/* Tells an idle or starting runner to exit. */
void runners_retire(struct slot *slot);
/* Kills every process and lets go of every link. */
void runners_kill(struct supervisor *s);
bool runners_have_jobs(const struct supervisor *s);

/* --- assignment.c --- */
/* A job was given to us, at lease_ms of our clock at the earliest: it waits for a runner, or is
 * refused (we drain), or dropped (held already, or too old). Its spec is copied. */
void assignment_take(struct supervisor *s, const struct message_ready *job, int64_t lease_ms);
/* What was given to us cannot be read, because it is newer than we are: it is handed back with the
 * reason, for another worker. */
void assignment_refuse(struct supervisor *s, const struct message_ready *job, const char *why);
/* Somebody asked to cancel what was given to us and does not run: it is reported as cancelled. */
void assignment_cancel(struct supervisor *s, const char *job, int32_t attempt);
/* Gives waiting jobs to idle runners. */
void assignment_fill(struct supervisor *s);
/* Hands back what has waited for long, and fills. */
void assignment_tick(struct supervisor *s, int64_t now);
/* Hands back everything that waits. */
void assignment_return(struct supervisor *s);

/* --- record.c --- */
MUST_CHECK int record_open(struct supervisor *s, struct err_buf *e);
void record_tick(struct supervisor *s, int64_t now);
/* A result more waits to be recorded: asks about them, when there are many. */
void record_confirm(struct supervisor *s);
void record_bye(struct supervisor *s);
void record_close(struct supervisor *s);

/* --- transport.c --- */
MUST_CHECK int transport_open(struct supervisor *s, struct err_buf *e);
void transport_tick(struct supervisor *s, int64_t now);
/* Puts a result into the outbox and sends it. */
void transport_result(struct supervisor *s, const struct message_result *result);
/* number: of the last of the lines (one or two) within the job, from 1. */
void transport_log(struct supervisor *s, const char *job, int number, const struct span *lines,
                   size_t count);
void transport_bye(struct supervisor *s);
/* No further ready messages. */
void transport_stop_reading(struct supervisor *s);
void transport_close(struct supervisor *s);

#endif
