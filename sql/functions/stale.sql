-- Stale writes: what was refused because its epoch, worker or incarnation does not own the attempt.

-- Notes one, in the transaction that refuses it. Everybody who refuses calls this; it never fails for a
-- strange job or a repetition.
CREATE OR REPLACE FUNCTION meridian.stale_note(p_job uuid, p_attempt integer, p_kind text, p_worker text,
  p_incarnation uuid, p_reason text)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  INSERT INTO meridian.stale_write AS s (job, attempt, kind, worker, incarnation, current_attempt,
    current_worker, by, reason)
  SELECT coalesce(j.id, '00000000-0000-0000-0000-000000000000'), CASE WHEN j.id IS NULL THEN 0 ELSE p_attempt END,
    p_kind, left(coalesce(p_worker, 'unknown'), 128), p_incarnation, j.attempt,
    (SELECT a.worker FROM meridian.attempt a WHERE a.job = j.id AND a.number = j.attempt),
    session_user, left(p_reason, 500)
  FROM (SELECT) one LEFT JOIN meridian.job j ON j.id = p_job
  ON CONFLICT (job, attempt, kind, worker) DO UPDATE SET count = s.count + 1, last_at = now(),
    incarnation = excluded.incarnation, current_attempt = excluded.current_attempt,
    current_worker = excluded.current_worker, by = excluded.by, reason = excluded.reason
$$;

-- A result that is not taken. One that only comes again (the worker repeats it until it hears that the attempt
-- is closed) is nobody's fault; any other is stale.
CREATE OR REPLACE FUNCTION meridian.result_refused(p_job uuid, p_number integer, p_worker text, p_kind text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_attempt attempt;
BEGIN
  SELECT * INTO v_attempt FROM attempt WHERE job = p_job AND number = p_number;
  IF v_attempt.worker = p_worker
     AND v_attempt.state IN ('succeeded', 'failed', 'crashed', 'returned', 'cancelled') THEN
    RETURN;
  END IF;
  PERFORM stale_note(p_job, p_number, p_kind, p_worker, NULL, CASE
    WHEN v_attempt.job IS NULL THEN 'there is no such attempt'
    WHEN v_attempt.worker IS DISTINCT FROM p_worker
      THEN 'the attempt is of worker ' || coalesce(v_attempt.worker, 'none')
    WHEN v_attempt.ended_at IS NOT NULL THEN 'the attempt was given up: ' || v_attempt.state
    ELSE 'a newer attempt, or another region, has the job' END);
END $$;

-- A report about an attempt that is not the scheduler's newest any more: it changes nothing.
CREATE OR REPLACE FUNCTION meridian.job_late(p_term bigint, p_job uuid, p_number integer, p_worker text)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM result_refused(p_job, p_number, p_worker, 'result');
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = p_job;
END $$;
