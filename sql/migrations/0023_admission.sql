-- What an admission costs. A foreign key asks for each job, one by one, about a market that the same statement
-- has just looked up; guard.sql asks once for all of a statement (job_has_market, market_has_jobs).
ALTER TABLE meridian.job DROP CONSTRAINT job_market_fkey;
