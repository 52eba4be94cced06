-- Schedules with written policies, and what became of every time at which one was due.

-- One cron line, parsed. When day of month and day of week are both restricted, either makes a day match.
CREATE TYPE meridian.cron_line AS (
  minutes integer[],
  hours integer[],
  days integer[],
  months integer[],
  weekdays integer[],
  day_is_any boolean,
  weekday_is_any boolean
);

ALTER TABLE meridian.schedule
  ADD COLUMN gap text NOT NULL DEFAULT 'next' CHECK (gap IN ('next', 'skip')),
  ADD COLUMN overlap text NOT NULL DEFAULT 'first' CHECK (overlap IN ('first', 'second', 'both')),
  ADD COLUMN missed text NOT NULL DEFAULT 'latest' CHECK (missed IN ('skip', 'latest', 'all')),
  ADD COLUMN missed_max integer NOT NULL DEFAULT 7 CHECK (missed_max BETWEEN 1 AND 100),
  ADD COLUMN missed_window_s integer NOT NULL DEFAULT 604800
    CHECK (missed_window_s BETWEEN 60 AND 31622400),
  ADD COLUMN running text NOT NULL DEFAULT 'buffer'
    CHECK (running IN ('skip', 'buffer', 'cancel', 'allow')),
  ADD COLUMN jitter_s integer NOT NULL DEFAULT 0 CHECK (jitter_s BETWEEN 0 AND 86400),
  ADD COLUMN synced_at timestamptz, -- null: its zones are set up at the next turn of the scheduler
  ADD CONSTRAINT schedule_catches_up CHECK (missed <> 'all' OR running IN ('buffer', 'allow'));

-- Where a schedule stands in each of its zones: so that a turn of the scheduler reads what is due, and
-- works out no cron line.
CREATE TABLE meridian.schedule_zone (
  schedule text NOT NULL REFERENCES meridian.schedule ON DELETE CASCADE,
  timezone text NOT NULL,
  decided_until timestamptz NOT NULL, -- what was due up to here is in firing
  next_at timestamptz, -- null: never, or paused
  due_at timestamptz, -- when to look: next_at with its jitter, or a time that clocks jump over
  checked_at timestamptz NOT NULL,
  error_text text,
  PRIMARY KEY (schedule, timezone)
);
CREATE INDEX schedule_zone_due ON meridian.schedule_zone (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedule_zone_checked ON meridian.schedule_zone (checked_at);

ALTER TABLE meridian.firing
  ALTER COLUMN job DROP NOT NULL,
  ADD COLUMN outcome text NOT NULL DEFAULT 'fired'
    CHECK (outcome IN ('fired', 'buffered', 'skipped', 'refused')),
  ADD COLUMN reason text CHECK (reason IN ('gap', 'missed', 'running', 'replaced', 'moved', 'removed',
    'no_market', 'invalid')),
  ADD COLUMN why text,
  ADD COLUMN markets text[] NOT NULL DEFAULT '{}', -- empty = every market
  ADD COLUMN local_at timestamp, -- what the cron line says, in the zone
  ADD CONSTRAINT firing_has_job CHECK ((outcome = 'fired') = (job IS NOT NULL)),
  ADD CONSTRAINT firing_has_reason CHECK (outcome NOT IN ('skipped', 'refused')
    OR (reason IS NOT NULL AND why IS NOT NULL));
CREATE INDEX firing_buffered ON meridian.firing (schedule, timezone, nominal_at) WHERE outcome = 'buffered';
CREATE INDEX firing_schedule ON meridian.firing (schedule, nominal_at);
