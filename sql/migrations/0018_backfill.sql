-- A range of nights as one object: a job of kind 'backfill' whose children, one nightly a night, are made
-- as the earlier ones end.
CREATE TABLE meridian.backfill (
  job uuid PRIMARY KEY REFERENCES meridian.job,
  markets text[] NOT NULL CHECK (cardinality(markets) >= 1),
  first_night date NOT NULL,
  last_night date NOT NULL,
  cap integer NOT NULL DEFAULT 1 CHECK (cap BETWEEN 1 AND 100),
  again boolean NOT NULL DEFAULT false,
  next_night date NOT NULL, -- those before it have their row in backfill_night
  paused_at timestamptz,
  paused_by text,
  CHECK (last_night >= first_night AND last_night - first_night < 3660),
  CHECK ((paused_at IS NULL) = (paused_by IS NULL))
);

CREATE TABLE meridian.backfill_night (
  backfill uuid NOT NULL REFERENCES meridian.backfill,
  night date NOT NULL,
  job uuid REFERENCES meridian.job, -- null: every market had succeeded already
  markets text[] NOT NULL, -- those that had not
  PRIMARY KEY (backfill, night),
  CHECK ((job IS NULL) = (cardinality(markets) = 0))
);
