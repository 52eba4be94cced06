-- Submission by SQL, inside the caller's own transaction: what is rolled back was never submitted, what is
-- committed is picked up by the scheduler within a moment. What SQL can judge is refused here (MR004), with the
-- words of admission; what only the scheduler knows (the fields of a kind's spec) makes the job a rejected one.

-- One submission in the form of admit_write. p_place names it in errors ("job 3: ").
CREATE OR REPLACE FUNCTION meridian.submission_check(p_job jsonb, p_place text)
RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_known text[] := '{id,kind,market,task,spec,priority,after,after_notok,after_any,quorum,unique_key,unique_policy,not_before,max_attempts}';
  v_field text;
  v_why text;
  v_id uuid;
  v_after uuid[];
  v_if text;
  v_priority integer;
  v_quorum integer;
  v_attempts integer;
  v_not_before timestamptz;
  v_spec jsonb := coalesce(nullif(p_job -> 'spec', 'null'), '{}');
  v_job jsonb;
BEGIN
  IF jsonb_typeof(p_job) IS DISTINCT FROM 'object' THEN
    PERFORM refuse(p_place || 'not a JSON object');
  END IF;
  SELECT min(k) INTO v_field FROM jsonb_object_keys(p_job) AS k WHERE NOT k = ANY (v_known);
  IF v_field IS NOT NULL THEN
    PERFORM refuse(format('%s%s: there is no such field', p_place, left(v_field, 64)),
      'there are ' || array_to_string(v_known, ', '));
  END IF;
  BEGIN
    v_field := 'id';
    v_id := coalesce((p_job ->> 'id')::uuid, uuid_make());
    v_field := 'priority';
    v_priority := coalesce((p_job ->> 'priority')::integer, 0);
    v_field := 'quorum';
    v_quorum := (p_job ->> 'quorum')::integer;
    v_field := 'max_attempts';
    v_attempts := (p_job ->> 'max_attempts')::integer;
    v_field := 'not_before';
    v_not_before := (p_job ->> 'not_before')::timestamptz;
    v_field := 'after';
    WITH need AS (
      SELECT n.position, n.letter, i.value::uuid AS id, i.position AS place
      FROM (VALUES (1, 'o', 'after'), (2, 'n', 'after_notok'), (3, 'a', 'after_any')) AS n(position, letter, field)
      CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(nullif(p_job -> n.field, 'null'), '[]'))
        WITH ORDINALITY AS i(value, position)
    )
    SELECT array_agg(id ORDER BY position, place), string_agg(letter, '' ORDER BY position, place),
      CASE WHEN count(DISTINCT id) < count(DISTINCT (id, letter)) THEN 'a job is named with two conditions' END
    INTO v_after, v_if, v_why FROM need;
  EXCEPTION
    WHEN data_exception THEN
      PERFORM refuse(format('%s%s: %s', p_place, v_field, SQLERRM));
  END;
  v_why := CASE
    WHEN v_why IS NOT NULL THEN 'after: ' || v_why
    WHEN coalesce(p_job ->> 'kind', '') = '' OR length(p_job ->> 'kind') > 32 THEN 'kind: missing or too long'
    WHEN coalesce(p_job ->> 'market', 'x') !~ '^[A-Za-z0-9][A-Za-z0-9-]{0,31}$' THEN 'market: not a market code'
    WHEN coalesce(p_job ->> 'task', 'x') !~ '^[a-z0-9][a-z0-9_-]{0,63}$' THEN 'task: not a task name'
    WHEN v_priority NOT BETWEEN -1000 AND 1000
      THEN format('priority: %s is not within -1000 and 1000', v_priority)
    WHEN v_attempts NOT BETWEEN 1 AND 100 THEN format('max_attempts: %s is not within 1 and 100', v_attempts)
    WHEN jsonb_typeof(v_spec) <> 'object' THEN 'spec: not a JSON object'
    WHEN length(v_spec::text) > 65536 THEN 'spec: more than 64 KiB'
    WHEN cardinality(v_after) > 256 THEN 'after: more than 256 jobs'
    WHEN v_id = ANY (v_after) THEN 'after: a job cannot need itself'
    WHEN v_quorum NOT BETWEEN 1 AND coalesce(cardinality(v_after), 0)
      THEN format('quorum: %s of %s jobs cannot be met', v_quorum, coalesce(cardinality(v_after), 0))
    WHEN length(p_job ->> 'unique_key') NOT BETWEEN 1 AND 256 THEN 'unique_key: not of 1 to 256 characters'
    WHEN p_job ->> 'unique_policy' NOT IN ('reject', 'keep', 'replace')
      THEN 'unique_policy: none of reject, keep and replace'
    WHEN p_job ->> 'unique_policy' IS NOT NULL AND p_job ->> 'unique_key' IS NULL
      THEN 'unique_policy: without a unique key'
    WHEN v_not_before > '9999-12-31Z' THEN 'not_before: after the year 9999' END;
  IF v_why IS NULL THEN
    v_job := jsonb_strip_nulls(jsonb_build_object('id', v_id, 'kind', p_job ->> 'kind', 'market', p_job ->> 'market',
      'task', p_job ->> 'task', 'spec', v_spec, 'priority', v_priority, 'after', to_jsonb(v_after), 'after_if',
      CASE WHEN v_if ~ '[^o]' THEN v_if END, 'after_quorum', v_quorum, 'unique', p_job ->> 'unique_key',
      'unique_policy', p_job ->> 'unique_policy', 'max_attempts', v_attempts, 'not_before_ms',
      CASE WHEN v_not_before > now() THEN floor(extract(epoch FROM v_not_before) * 1000)::bigint END,
      'by', session_user));
    -- A key that is held is the scheduler's to answer for keep and replace.
    v_why := admit_error(v_job || jsonb_build_object('is_parent', p_job ->> 'kind' = 'nightly',
        'region', v_spec ->> 'region')
      - CASE WHEN coalesce(p_job ->> 'unique_policy', 'reject') = 'reject' THEN '' ELSE 'unique' END);
  END IF;
  IF v_why IS NULL AND (EXISTS (SELECT FROM job WHERE id = v_id) OR EXISTS (SELECT FROM submission WHERE id = v_id)) THEN
    v_why := format('id: job %s was submitted before', v_id);
  END IF;
  IF v_why IS NOT NULL THEN
    PERFORM refuse(p_place || v_why);
  END IF;
  RETURN v_job;
END $$;

-- Submits one job and returns its id. Names as in the JSON of submit_many; only kind is needed.
--   SELECT meridian.submit('finetune', market => 'de-DE', task => 'intents', spec => '{"seed": 7}');
CREATE OR REPLACE FUNCTION meridian.submit(kind text, market text DEFAULT NULL, task text DEFAULT NULL,
  spec jsonb DEFAULT '{}', priority integer DEFAULT 0, after uuid[] DEFAULT NULL, after_notok uuid[] DEFAULT NULL,
  after_any uuid[] DEFAULT NULL, quorum integer DEFAULT NULL, unique_key text DEFAULT NULL,
  unique_policy text DEFAULT NULL, not_before timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
  id uuid DEFAULT NULL)
RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT meridian.wake();
  INSERT INTO meridian.submission (id, job, submitted_by)
  SELECT (c.job ->> 'id')::uuid, c.job, session_user
  FROM meridian.submission_check(jsonb_build_object('kind', $1, 'market', $2, 'task', $3, 'spec', $4, 'priority', $5,
    'after', to_jsonb($6), 'after_notok', to_jsonb($7), 'after_any', to_jsonb($8), 'quorum', $9, 'unique_key', $10,
    'unique_policy', $11, 'not_before', $12, 'max_attempts', $13, 'id', $14), '') AS c(job)
  RETURNING submission.id
$$;

-- Submits a JSON array of jobs, all or none; the ids come in the order of the array.
--   SELECT meridian.submit_many('[{"kind": "noop"}, {"kind": "noop", "priority": 5}]');
CREATE OR REPLACE FUNCTION meridian.submit_many(jobs jsonb)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM wake();
  IF jsonb_typeof(jobs) IS DISTINCT FROM 'array' OR jsonb_array_length(jobs) > 100000 THEN
    PERFORM refuse('jobs: not an array of at most 100000 jobs');
  END IF;
  RETURN QUERY
    INSERT INTO submission (id, job, submitted_by)
    SELECT (c.job ->> 'id')::uuid, c.job, session_user
    FROM (SELECT submission_check(a.job, format('job %s: ', a.position)) AS job, a.position
          FROM jsonb_array_elements(jobs) WITH ORDINALITY AS a(job, position)
          ORDER BY a.position OFFSET 0) c
    RETURNING id;
EXCEPTION
  WHEN unique_violation THEN
    PERFORM refuse('id: the same is named twice, or was submitted before');
END $$;

-- What waits, in the order of writing, for the scheduler to judge and admit; job_admit takes it off. What was
-- taken before and is still there could not be admitted in company (or the scheduler died): it comes alone.
CREATE OR REPLACE FUNCTION meridian.scheduler_take(p_term bigint, p_limit integer)
RETURNS TABLE (id uuid, kind text, market text, task text, spec text, priority integer, after text, after_if text,
  after_quorum integer, not_before_ms bigint, unique_key text, unique_policy text, max_attempts integer, "by" text,
  tries integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_first submission;
BEGIN
  PERFORM assert_term(p_term);
  SELECT * INTO v_first FROM submission s WHERE s.tries < 10 ORDER BY s.number LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY
    WITH taken AS (
      UPDATE submission s SET tries = s.tries + 1
      WHERE s.number IN (SELECT o.number FROM submission o
                         WHERE o.number >= v_first.number AND o.tries = v_first.tries
                         ORDER BY o.number LIMIT CASE WHEN v_first.tries = 0 THEN p_limit ELSE 1 END)
      RETURNING s.*
    )
    SELECT t.id, t.job ->> 'kind', t.job ->> 'market', t.job ->> 'task', (t.job -> 'spec')::text,
      (t.job ->> 'priority')::integer,
      (SELECT string_agg(a.id, ',' ORDER BY a.position)
       FROM jsonb_array_elements_text(t.job -> 'after') WITH ORDINALITY AS a(id, position)),
      t.job ->> 'after_if', (t.job ->> 'after_quorum')::integer, (t.job ->> 'not_before_ms')::bigint,
      t.job ->> 'unique', t.job ->> 'unique_policy', (t.job ->> 'max_attempts')::integer, t.job ->> 'by', t.tries
    FROM taken t ORDER BY t.number;
END $$;
