-- Events are only added, in the order of their times: a block range index is as good for periods, and costs
-- next to nothing with each event.
DROP INDEX meridian.event_at;
CREATE INDEX event_at ON meridian.event USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
