-- The record: every table of Meridian. Times are UTC; durations derive from them.
-- Comments on every table and column are in sql/comments.sql.

CREATE SCHEMA IF NOT EXISTS meridian;
CREATE SCHEMA IF NOT EXISTS report;

-- Places and subjects ---------------------------------------------------------------------------

CREATE TABLE meridian.region (
  name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE meridian.market (
  code text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9-]{0,31}$'),
  region text NOT NULL REFERENCES meridian.region,
  timezone text NOT NULL DEFAULT 'UTC',
  language text,
  weight double precision NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight <= 1000),
  max_running integer NOT NULL DEFAULT 0 CHECK (max_running >= 0), -- 0 = no limit
  tolerance double precision NOT NULL DEFAULT 0.01 CHECK (tolerance >= 0 AND tolerance <= 1),
  min_support integer NOT NULL DEFAULT 20 CHECK (min_support >= 1),
  collapse_drop double precision NOT NULL DEFAULT 0.25 CHECK (collapse_drop > 0 AND collapse_drop <= 1),
  created_at timestamptz NOT NULL DEFAULT now(),
  removed_at timestamptz
);

CREATE TABLE meridian.task (
  name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  source_markets text[] NOT NULL DEFAULT '{}', -- pooled for the global base; all of one region
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Texts (only in the data database of their region) ---------------------------------------------

CREATE TABLE meridian.sample (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  market text NOT NULL,
  task text NOT NULL,
  split text NOT NULL CHECK (split IN ('train', 'dev', 'test')),
  external_id text NOT NULL CHECK (length(external_id) BETWEEN 1 AND 256),
  revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1),
  label text NOT NULL CHECK (length(label) BETWEEN 1 AND 256),
  text text NOT NULL CHECK (length(text) >= 1),
  digest bytea NOT NULL CHECK (length(digest) = 32), -- sha256(external_id NUL label NUL text)
  imported_at timestamptz NOT NULL DEFAULT now(),
  superseded_by bigint, -- id of the revision, or of the erasure, that replaced it
  UNIQUE (market, task, split, external_id, revision)
);
CREATE UNIQUE INDEX sample_current ON meridian.sample (market, task, split, external_id COLLATE "C")
  WHERE superseded_by IS NULL;

CREATE TABLE meridian.snapshot (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  markets text[] NOT NULL CHECK (cardinality(markets) >= 1),
  task text NOT NULL,
  split text NOT NULL CHECK (split IN ('train', 'dev', 'test')),
  as_of bigint NOT NULL, -- the newest sample id that existed
  samples integer NOT NULL CHECK (samples >= 0),
  labels integer NOT NULL CHECK (labels >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  erased_at timestamptz, -- a member was erased: it cannot be read again
  UNIQUE (sha256, markets, task, split)
);

-- Work ------------------------------------------------------------------------------------------

CREATE TABLE meridian.job (
  id uuid PRIMARY KEY,
  kind text NOT NULL,
  market text REFERENCES meridian.market,
  task text,
  region text, -- null only for parents, which no worker runs, and for rejected jobs
  state text NOT NULL CHECK (state IN ('waiting', 'queued', 'dispatched', 'running',
    'succeeded', 'failed', 'cancelled', 'rejected', 'skipped')),
  spec jsonb NOT NULL DEFAULT '{}',
  priority integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -1000 AND 1000),
  parent uuid REFERENCES meridian.job,
  night date, -- the local night a nightly and its children belong to
  unique_key text,
  submitted_by text NOT NULL DEFAULT 'unknown',
  submitted_at timestamptz NOT NULL DEFAULT now(),
  admitted_at timestamptz NOT NULL DEFAULT now(),
  not_before timestamptz,
  queued_at timestamptz, -- when it last became runnable
  started_at timestamptz, -- first attempt's start
  ended_at timestamptz,
  attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0), -- number of the newest attempt: the epoch
  failures integer NOT NULL DEFAULT 0, -- attempts charged to the error budget
  crashes integer NOT NULL DEFAULT 0, -- attempts charged to the crash budget
  max_attempts integer NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 100),
  memory_mb integer NOT NULL DEFAULT 2048 CHECK (memory_mb BETWEEN 16 AND 1048576),
  time_limit_s integer NOT NULL DEFAULT 3600 CHECK (time_limit_s BETWEEN 1 AND 2592000),
  threads integer NOT NULL DEFAULT 1 CHECK (threads BETWEEN 1 AND 256),
  cancel_requested_at timestamptz,
  cancel_requested_by text,
  error_code text,
  error_text text,
  replayed_by uuid,
  purged_at timestamptz, -- taken off the dead letters by hand
  result jsonb,
  CONSTRAINT job_ended CHECK ((ended_at IS NOT NULL) =
    (state IN ('succeeded', 'failed', 'cancelled', 'rejected', 'skipped'))),
  CONSTRAINT job_running_has_attempt CHECK (state NOT IN ('dispatched', 'running') OR attempt >= 1),
  CONSTRAINT job_running_has_start CHECK (state <> 'running' OR started_at IS NOT NULL),
  CONSTRAINT job_failed_has_reason CHECK (state NOT IN ('failed', 'rejected', 'skipped') OR error_code IS NOT NULL),
  CONSTRAINT job_runs_in_a_region CHECK (state NOT IN ('dispatched', 'running') OR region IS NOT NULL)
);
CREATE INDEX job_open ON meridian.job (state) WHERE ended_at IS NULL;
CREATE INDEX job_parent ON meridian.job (parent) WHERE parent IS NOT NULL;
CREATE INDEX job_night ON meridian.job (night, market) WHERE night IS NOT NULL;
CREATE INDEX job_ended ON meridian.job (ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX job_unique_key ON meridian.job (unique_key)
  WHERE unique_key IS NOT NULL AND ended_at IS NULL;

CREATE TABLE meridian.dependency (
  job uuid NOT NULL REFERENCES meridian.job,
  needs uuid NOT NULL, -- no foreign key: it may be admitted later than its dependant
  PRIMARY KEY (job, needs),
  CHECK (job <> needs)
);
CREATE INDEX dependency_needs ON meridian.dependency (needs);

CREATE TABLE meridian.worker (
  name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
  incarnation uuid NOT NULL, -- new at every start of the supervisor
  region text NOT NULL REFERENCES meridian.region,
  host text NOT NULL,
  pid integer NOT NULL,
  slots integer NOT NULL CHECK (slots BETWEEN 1 AND 1024),
  threads integer NOT NULL CHECK (threads >= 1),
  memory_mb integer NOT NULL CHECK (memory_mb >= 1),
  version text NOT NULL,
  state text NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'draining', 'gone')),
  drain_requested_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE meridian.attempt (
  job uuid NOT NULL REFERENCES meridian.job,
  number integer NOT NULL CHECK (number >= 1), -- the fencing epoch
  state text NOT NULL CHECK (state IN ('dispatched', 'running', 'succeeded', 'failed', 'crashed',
    'lost', 'returned', 'cancelled', 'undelivered')),
  region text NOT NULL,
  worker text,
  incarnation uuid,
  dispatched_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  ended_at timestamptz,
  lease_expires_at timestamptz,
  progress jsonb,
  exit_code integer,
  signal integer,
  peak_rss_kb bigint,
  error_code text,
  error_class text CHECK (error_class IN ('retry', 'permanent', 'caller', 'internal')),
  error_text text,
  charged boolean NOT NULL DEFAULT false,
  PRIMARY KEY (job, number),
  CONSTRAINT attempt_ended CHECK ((ended_at IS NULL) = (state IN ('dispatched', 'running'))),
  CONSTRAINT attempt_running CHECK (state <> 'running' OR
    (worker IS NOT NULL AND started_at IS NOT NULL AND lease_expires_at IS NOT NULL))
);
CREATE UNIQUE INDEX attempt_one_open ON meridian.attempt (job) WHERE ended_at IS NULL;
CREATE INDEX attempt_worker ON meridian.attempt (worker) WHERE ended_at IS NULL;
CREATE INDEX attempt_started ON meridian.attempt (started_at);

CREATE TABLE meridian.event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  job uuid,
  attempt integer,
  actor text NOT NULL,
  from_state text,
  to_state text,
  reason text NOT NULL,
  detail jsonb
);
CREATE INDEX event_job ON meridian.event (job, id);
CREATE INDEX event_at ON meridian.event (at);

CREATE TABLE meridian.schedule (
  name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'),
  cron text NOT NULL,
  timezone text NOT NULL, -- an IANA name, or 'market': each market's own
  kind text NOT NULL DEFAULT 'nightly',
  task text,
  markets text[] NOT NULL DEFAULT '{}', -- empty = every market
  spec jsonb NOT NULL DEFAULT '{}',
  priority integer NOT NULL DEFAULT 0,
  paused boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE meridian.firing (
  schedule text NOT NULL,
  timezone text NOT NULL,
  nominal_at timestamptz NOT NULL,
  job uuid NOT NULL REFERENCES meridian.job,
  fired_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schedule, timezone, nominal_at)
);

CREATE TABLE meridian.pause (
  scope text NOT NULL CHECK (scope IN ('all', 'region', 'market')),
  name text NOT NULL DEFAULT '',
  paused_by text NOT NULL,
  paused_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (scope, name)
);

CREATE TABLE meridian.leader (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  holder text NOT NULL,
  term bigint NOT NULL,
  expires_at timestamptz NOT NULL
);

-- Models ----------------------------------------------------------------------------------------

CREATE TABLE meridian.artifact (
  sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
  bytes bigint NOT NULL CHECK (bytes >= 0),
  chunks integer NOT NULL CHECK (chunks >= 0),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE meridian.artifact_chunk (
  sha256 bytea NOT NULL,
  number integer NOT NULL CHECK (number >= 0),
  data bytea NOT NULL CHECK (length(data) BETWEEN 1 AND 1048576),
  PRIMARY KEY (sha256, number)
);

CREATE TABLE meridian.version (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  market text REFERENCES meridian.market, -- null for a task's global base
  task text NOT NULL REFERENCES meridian.task,
  number integer NOT NULL CHECK (number >= 1), -- counts within market and task
  family text NOT NULL,
  method text NOT NULL,
  artifact bytea NOT NULL REFERENCES meridian.artifact,
  base_version bigint REFERENCES meridian.version,
  train_snapshot bigint REFERENCES meridian.snapshot,
  dev_snapshot bigint REFERENCES meridian.snapshot,
  job uuid NOT NULL REFERENCES meridian.job UNIQUE, -- a job makes at most one version
  attempt integer NOT NULL,
  region text,
  spec jsonb NOT NULL,
  labels text[] NOT NULL,
  engine text NOT NULL,
  kernel text NOT NULL,
  threads integer NOT NULL,
  seed bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (job, attempt) REFERENCES meridian.attempt (job, number)
);
CREATE UNIQUE INDEX version_number ON meridian.version (coalesce(market, ''), task, number);

CREATE TABLE meridian.evaluation (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job uuid NOT NULL REFERENCES meridian.job UNIQUE,
  attempt integer NOT NULL,
  version bigint NOT NULL REFERENCES meridian.version,
  snapshot bigint NOT NULL REFERENCES meridian.snapshot,
  champion bigint REFERENCES meridian.version, -- what it was compared with
  verdict text CHECK (verdict IN ('promote', 'keep')), -- null when no promotion was asked for
  reason text,
  sentence text,
  numbers jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (job, attempt) REFERENCES meridian.attempt (job, number)
);
CREATE INDEX evaluation_version ON meridian.evaluation (version);

CREATE TABLE meridian.metric (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job uuid NOT NULL REFERENCES meridian.job,
  version bigint NOT NULL REFERENCES meridian.version,
  evaluation bigint REFERENCES meridian.evaluation, -- null for figures of the training itself
  role text NOT NULL CHECK (role IN ('challenger', 'champion', 'training')),
  name text NOT NULL,
  value double precision NOT NULL,
  low double precision,
  high double precision,
  CHECK ((role = 'training') = (evaluation IS NULL)),
  UNIQUE (job, role, name)
);
CREATE INDEX metric_version ON meridian.metric (version, name);
CREATE INDEX metric_evaluation ON meridian.metric (evaluation);

CREATE TABLE meridian.class_metric (
  evaluation bigint NOT NULL REFERENCES meridian.evaluation,
  label text NOT NULL,
  position integer NOT NULL,
  precision_ double precision NOT NULL,
  recall double precision NOT NULL,
  f1 double precision NOT NULL,
  support integer NOT NULL CHECK (support >= 0),
  PRIMARY KEY (evaluation, label)
);

CREATE TABLE meridian.confusion_cell (
  evaluation bigint NOT NULL REFERENCES meridian.evaluation,
  truth text NOT NULL,
  predicted text NOT NULL,
  count integer NOT NULL CHECK (count > 0),
  PRIMARY KEY (evaluation, truth, predicted)
);

CREATE TABLE meridian.training_point (
  version bigint NOT NULL REFERENCES meridian.version,
  epoch integer NOT NULL,
  step bigint NOT NULL,
  train_loss double precision,
  dev_loss double precision,
  dev_accuracy double precision,
  examples_per_s double precision,
  elapsed_ms bigint,
  PRIMARY KEY (version, epoch, step)
);

CREATE TABLE meridian.promotion (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  market text NOT NULL REFERENCES meridian.market,
  task text NOT NULL REFERENCES meridian.task,
  version bigint NOT NULL REFERENCES meridian.version,
  previous bigint REFERENCES meridian.version,
  kind text NOT NULL CHECK (kind IN ('promote', 'rollback', 'manual')),
  evaluation bigint UNIQUE REFERENCES meridian.evaluation, -- an evaluation promotes at most once
  actor text NOT NULL,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX promotion_market ON meridian.promotion (market, task, id);

CREATE TABLE meridian.champion (
  market text NOT NULL REFERENCES meridian.market,
  task text NOT NULL REFERENCES meridian.task,
  version bigint NOT NULL REFERENCES meridian.version,
  promotion bigint NOT NULL REFERENCES meridian.promotion,
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (market, task)
);
