-- Leadership is a row with a term and an expiry. A term only grows, so whoever names an older one is
-- refused, however late the statement arrives.

CREATE OR REPLACE FUNCTION meridian.leader_acquire(p_holder text, p_ttl_ms integer)
RETURNS TABLE (term bigint, is_leader boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_until timestamptz := clock_timestamp() + p_ttl_ms * interval '1 millisecond';
  v_now timestamptz := clock_timestamp();
  v_row leader;
BEGIN
  INSERT INTO leader (holder, term, expires_at) VALUES (p_holder, 1, v_until)
  ON CONFLICT (single) DO NOTHING;
  IF FOUND THEN
    RETURN QUERY SELECT 1::bigint, true;
    RETURN;
  END IF;
  SELECT * INTO v_row FROM leader FOR UPDATE;
  v_now := clock_timestamp(); -- the lock may have been waited for
  v_until := v_now + p_ttl_ms * interval '1 millisecond';
  IF v_row.expires_at <= v_now THEN
    -- Also for the same holder: what it believed before the gap may be wrong by now.
    UPDATE leader SET holder = p_holder, term = v_row.term + 1, expires_at = v_until;
    RETURN QUERY SELECT v_row.term + 1, true;
  ELSIF v_row.holder = p_holder THEN
    UPDATE leader SET expires_at = v_until;
    RETURN QUERY SELECT v_row.term, true;
  ELSE
    IF v_row.expires_at > v_until + interval '1 minute' THEN
      -- Written by a clock that was set back since: a leader that lives renews it, a dead one must not keep it.
      UPDATE leader SET expires_at = v_until;
    END IF;
    RETURN QUERY SELECT v_row.term, false;
  END IF;
END $$;

-- Gives leadership up at once, so that a standby need not wait for the expiry.
CREATE OR REPLACE FUNCTION meridian.leader_resign(p_holder text, p_term bigint)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  UPDATE leader SET expires_at = clock_timestamp() WHERE holder = p_holder AND term = p_term;
  RETURN FOUND;
END $$;

-- Holds the leader's row until the caller commits: nobody can take the term away in between.
CREATE OR REPLACE FUNCTION meridian.assert_term(p_term bigint)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_row leader;
BEGIN
  SELECT * INTO v_row FROM leader FOR SHARE;
  IF NOT FOUND OR p_term IS NULL OR v_row.term <> p_term THEN
    RAISE EXCEPTION 'term % is not the leader''s (that is %)', p_term, v_row.term
      USING ERRCODE = 'MR001';
  END IF;
  IF v_row.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'term % has expired', p_term USING ERRCODE = 'MR001';
  END IF;
END $$;
