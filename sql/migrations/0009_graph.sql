-- Conditions and quorums of dependencies and families. Every new column has a default that means what the
-- previous release does, so that its programs go on working.

ALTER TABLE meridian.dependency
  ADD COLUMN condition text NOT NULL DEFAULT 'afterok'
    CHECK (condition IN ('afterok', 'afternotok', 'afterany'));

ALTER TABLE meridian.job
  ADD COLUMN after_quorum integer CHECK (after_quorum >= 1), -- needs that must be met; null = all
  ADD COLUMN quorum integer CHECK (quorum >= 1), -- of a parent: members that must succeed; null = all
  ADD COLUMN quorum_at timestamptz, -- of a parent: when its stragglers' time began to run
  ADD COLUMN is_member boolean NOT NULL DEFAULT false, -- counts for its parent's quorum
  ADD COLUMN cause uuid; -- of a skipped job: the first of the chain that ended otherwise than needed
