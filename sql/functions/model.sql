-- What a model owner does by hand. Each is one transaction; refusals are SQLSTATE MR004, or MR002
-- when what was named does not exist.

CREATE OR REPLACE FUNCTION meridian.model_promote(p_market text, p_task text, p_version bigint,
  p_actor text, p_reason text)
RETURNS TABLE (promotion bigint, version bigint, number integer, previous bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_version version;
  v_promotion bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM market WHERE code = p_market AND removed_at IS NULL) THEN
    PERFORM refuse_missing(format('there is no market "%s"', p_market), 'see meridian market list');
  END IF;
  SELECT * INTO v_version FROM version WHERE id = p_version;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no version %s', p_version), 'see meridian model list');
  END IF;
  IF v_version.task <> p_task OR v_version.market <> p_market THEN
    PERFORM refuse(format('version %s is of market %s and task %s, not of %s and %s', p_version,
      coalesce(v_version.market, '(global base)'), v_version.task, p_market, p_task),
      'see meridian model list --market ' || p_market);
  END IF;
  -- Only asked under the lock: two promotions at once must not both pass.
  PERFORM pg_advisory_xact_lock(hashtextextended('meridian.champion.' || p_market || '/' || p_task, 0));
  IF EXISTS (SELECT FROM champion c
             WHERE c.market = p_market AND c.task = p_task AND c.version = p_version) THEN
    PERFORM refuse(format('version %s is the champion of %s already', p_version, p_market));
  END IF;
  v_promotion := champion_set(p_market, p_task, p_version, false, NULL, 'manual', NULL, NULL, p_actor,
    coalesce(nullif(p_reason, ''), 'promoted by hand'));
  RETURN QUERY SELECT p.id, p.version, v_version.number, p.previous
    FROM promotion p WHERE p.id = v_promotion;
END $$;

-- The champion before this one. Rolling back twice goes back twice: promotions push, rollbacks pop.
CREATE OR REPLACE FUNCTION meridian.champion_before(p_market text, p_task text)
RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_stack bigint[] := '{}';
  v_row record;
BEGIN
  FOR v_row IN SELECT kind, version FROM promotion
               WHERE market = p_market AND task = p_task ORDER BY id
  LOOP
    IF v_row.kind = 'rollback' THEN
      v_stack := v_stack[:cardinality(v_stack) - 1];
    ELSE
      v_stack := v_stack || v_row.version;
    END IF;
  END LOOP;
  RETURN v_stack[cardinality(v_stack) - 1];
END $$;

CREATE OR REPLACE FUNCTION meridian.model_rollback(p_market text, p_task text, p_actor text,
  p_reason text)
RETURNS TABLE (promotion bigint, version bigint, number integer, previous bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_to bigint;
  v_promotion bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('meridian.champion.' || p_market || '/' || p_task, 0));
  IF NOT EXISTS (SELECT FROM champion WHERE market = p_market AND task = p_task) THEN
    PERFORM refuse(format('market "%s" has no champion for task "%s"', p_market, p_task),
      'see meridian model list');
  END IF;
  v_to := champion_before(p_market, p_task);
  IF v_to IS NULL THEN
    PERFORM refuse(format('market "%s" had no champion before this one', p_market),
      'promote another version with meridian model promote');
  END IF;
  v_promotion := champion_set(p_market, p_task, v_to, false, NULL, 'rollback', NULL, NULL, p_actor,
    coalesce(nullif(p_reason, ''), 'rolled back by hand'));
  RETURN QUERY SELECT p.id, p.version, v.number, p.previous
    FROM promotion p JOIN version v ON v.id = p.version WHERE p.id = v_promotion;
END $$;
