-- A scheduler that starts reads the open jobs page by page, in the order of their ids.
CREATE INDEX job_open_id ON meridian.job (id) WHERE ended_at IS NULL;
