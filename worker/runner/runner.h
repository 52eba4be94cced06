/*
 * The runner: a process that runs one job after the other for its supervisor and never talks to
 * Redis. It takes jobs from fd 3, and tells progress, log lines and results there.
 *
 * SIGTERM asks the job to stop between two steps; it is then told as cancelled. The process ends
 * when the supervisor says so or is gone.
 */
#ifndef WORKER_RUNNER_RUNNER_H
#define WORKER_RUNNER_RUNNER_H

/* Runs until told to exit; settings come from the environment (MERIDIAN_DATABASE_URL,
 * MERIDIAN_DATA_URL, MERIDIAN_LOG). Returns the exit code. */
int runner_main(void);

#endif
