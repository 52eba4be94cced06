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
