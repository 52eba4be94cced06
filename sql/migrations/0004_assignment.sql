-- Direct assignment: an attempt belongs to a worker from the moment it is dispatched, and its lease
-- starts then.

-- The supervisor's own monotonic clock at the start of its last hello or renewal. It travels with an
-- assignment, and tells the supervisor how old that is at most, whatever the clocks of others say.
ALTER TABLE meridian.worker ADD COLUMN mono_ms bigint NOT NULL DEFAULT 0;
