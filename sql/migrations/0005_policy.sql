-- What dispatch goes by beside priority: limits of regions and tasks, labels of workers and of the jobs
-- that ask for them, how long jobs take, what markets used lately, and what the leader last said.

CREATE TABLE meridian.run_limit (
  scope text NOT NULL CHECK (scope IN ('region', 'task')),
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  max_running integer NOT NULL CHECK (max_running >= 1),
  set_by text NOT NULL,
  set_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (scope, name)
);

-- "key=value,key=value", sorted by key: one text for one set, so that equal sets compare equal.
ALTER TABLE meridian.worker ADD COLUMN labels text NOT NULL DEFAULT '' CHECK (length(labels) <= 1600);
ALTER TABLE meridian.job ADD COLUMN labels text NOT NULL DEFAULT '' CHECK (length(labels) <= 1600);

-- How long a successful attempt takes, by what is known of the job. Written by the leader, which keeps
-- the figures as attempts end; '' stands for no market and no task.
CREATE TABLE meridian.estimate (
  kind text NOT NULL,
  market text NOT NULL,
  task text NOT NULL,
  attempts bigint NOT NULL CHECK (attempts >= 1),
  seconds double precision NOT NULL CHECK (seconds >= 0),
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, market, task)
);

-- Slot seconds that a market used, as they were worth at that time: half is forgotten in every half-life.
CREATE TABLE meridian.market_use (
  market text PRIMARY KEY,
  used_s double precision NOT NULL CHECK (used_s >= 0),
  as_of timestamptz NOT NULL
);

-- What the leader goes by, for views that say what it does.
CREATE TABLE meridian.leader_policy (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  priority_age_s double precision NOT NULL,
  half_life_s double precision NOT NULL,
  live_s double precision NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);
