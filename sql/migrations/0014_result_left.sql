-- Results that a worker left here because it cannot get them through Redis, as it would have sent them.
CREATE TABLE meridian.result_left (
  job uuid NOT NULL,
  attempt integer NOT NULL,
  report bytea NOT NULL CHECK (length(report) BETWEEN 1 AND 67108864),
  left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job, attempt),
  FOREIGN KEY (job, attempt) REFERENCES meridian.attempt (job, number)
);
