-- Retention classes, partitions that are made and dropped without anybody waiting, and the role that erases.
--
--   kontext_erase   erasing payloads of one organisation and moving them to a hold and back, and recording that. No other
--                   role can delete or move a payload.
DO $$
DECLARE
  is_member boolean;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kontext_erase') THEN
    BEGIN
      CREATE ROLE kontext_erase NOLOGIN NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- a migration of another database of this cluster was faster
    END;
  END IF;
  is_member := pg_has_role(current_user, 'kontext_erase', 'MEMBER');
  IF current_setting('server_version_num')::int >= 160000 THEN
    is_member := pg_has_role(current_user, 'kontext_erase', 'SET');
  END IF;
  IF NOT is_member THEN
    GRANT kontext_erase TO CURRENT_USER;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO kontext_erase', current_schema());
END
$$;
--> statement-breakpoint
DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['orgs', 'users', 'sessions', 'audit_streams', 'audit_stream_days', 'audit_events', 'audit_payloads',
    'audit_segments', 'audit_refs', 'audit_settings', 'audit_holds', 'approvals'] LOOP
    EXECUTE format('ALTER POLICY own_org ON %I TO kontext_app, kontext_ingest, kontext_read, kontext_erase', tab);
  END LOOP;
END
$$;
--> statement-breakpoint
GRANT SELECT ON orgs, users, sessions, audit_streams, audit_stream_days, audit_events, audit_payloads, audit_segments,
  audit_refs, audit_settings, audit_holds TO kontext_erase;
--> statement-breakpoint
-- To record what it does, in the transaction that does it.
GRANT INSERT ON audit_stream_days, audit_events, audit_payloads, audit_segments, audit_refs TO kontext_erase;
--> statement-breakpoint
GRANT UPDATE (head_seq, head_hash, head_event_hash, part_day, part_started_at, updated_at, held) ON audit_streams TO kontext_erase;
--> statement-breakpoint
GRANT DELETE ON audit_payloads TO kontext_erase;
--> statement-breakpoint
GRANT UPDATE (retention_class) ON audit_payloads TO kontext_erase;
--> statement-breakpoint
GRANT INSERT, DELETE ON audit_holds TO kontext_erase;
--> statement-breakpoint
REVOKE INSERT, DELETE ON audit_holds FROM kontext_app;
--> statement-breakpoint
-- What was asked about a call is text of it as well.
GRANT SELECT, UPDATE (part, call) ON approvals TO kontext_erase;
--> statement-breakpoint

-- The classes of docs/retention.md: `days-N` ends after N days; `standard` and `hold` never do.
CREATE TABLE audit_payloads_days_30 PARTITION OF audit_payloads FOR VALUES IN ('days-30') PARTITION BY RANGE (part_day);
--> statement-breakpoint
CREATE TABLE audit_payloads_days_90 PARTITION OF audit_payloads FOR VALUES IN ('days-90') PARTITION BY RANGE (part_day);
--> statement-breakpoint
CREATE TABLE audit_payloads_days_365 PARTITION OF audit_payloads FOR VALUES IN ('days-365') PARTITION BY RANGE (part_day);
--> statement-breakpoint

-- As before, but nobody waits: CREATE TABLE … PARTITION OF takes ACCESS EXCLUSIVE on its parent, behind every reader that is
-- there and before every reader and writer that comes. ATTACH PARTITION takes SHARE UPDATE EXCLUSIVE, which both go along
-- with; the table it adds is new and empty, so there is nothing to scan.
CREATE OR REPLACE FUNCTION kontext_make_partitions(first date, days integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  made integer := 0;
  day date;
  parent text;
  part text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('kontext.partitions', 0));
  FOR parent IN
    SELECT 'audit_events' UNION ALL
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_payloads'::regclass
  LOOP
    FOR day IN SELECT first + i FROM generate_series(0, days - 1) AS i LOOP
      part := parent || '_' || to_char(day, 'YYYYMMDD');
      IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, day, day + 1);
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
--> statement-breakpoint

-- Erases the payloads of one class and day by dropping their partition. Headers, hashes and chains stay.
--
-- It refuses what is not due, whatever the backend thinks of the date: a partition holds what was received until the end of the
-- day after its own. DROP takes ACCESS EXCLUSIVE on the class's table, and everybody queues behind whoever waits for that:
-- so it waits 100 ms and gives up (SQLSTATE 55P03), to be asked again later. DETACH … CONCURRENTLY, which waits for readers
-- without stopping others, can be in no transaction and no function, and needs the owner of the table.
CREATE OR REPLACE FUNCTION kontext_erase_payloads(class text, day date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  kept integer := substring(class from '^days-([0-9]{1,5})$')::integer;
  parent text := 'audit_payloads_' || replace(class, '-', '_');
  part text := parent || '_' || to_char(day, 'YYYYMMDD');
BEGIN
  IF kept IS NULL OR to_regclass(parent) IS NULL THEN
    RAISE EXCEPTION 'no retention class that ends: %', class;
  END IF;
  IF day > (now() AT TIME ZONE 'UTC')::date - kept - 2 THEN
    RAISE EXCEPTION 'the payloads of % in the retention class % are not due', day, class;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('kontext.partitions', 0));
  IF to_regclass(part) IS NULL THEN
    RETURN false;
  END IF;
  EXECUTE format('DROP TABLE %I', part);
  RETURN true;
END
$$;
--> statement-breakpoint
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION kontext_make_partitions(date, integer) SET search_path = %I, pg_temp', current_schema());
  EXECUTE format('ALTER FUNCTION kontext_erase_payloads(text, date) SET search_path = %I, pg_temp', current_schema());
END
$$;
--> statement-breakpoint
ALTER FUNCTION kontext_erase_payloads(text, date) SET lock_timeout = '100ms';
