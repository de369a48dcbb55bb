-- Database roles, their rights, row-level security, and the functions that make and drop partitions.
--
-- Every transaction of the backend takes one of these roles (SET LOCAL ROLE) and names its organisation in
-- `kontext.org_id`; nothing runs as the connecting user but migrations. What each role is for:
--
--   kontext_app        the work for one organisation: sessions, connections, leases, policies, server-side audit rows
--   kontext_ingest     appending client streams: inserts audit rows, moves stream heads, reads sessions
--   kontext_read       lists and the audit views: reads, never a sealed secret
--   kontext_retention  sweeping expired rows and, through two functions, making and dropping partitions
--   kontext_system     what happens before an organisation is known or across all: login, the authorization
--                      server's rows, making organisations, sweepers. The only role that sees every organisation.
--
-- No role can change or delete an audit event, a payload, or a published policy version.
-- Roles belong to the cluster and are made once; rights belong to the database.

DO $$
DECLARE
  wanted text;
  is_member boolean;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['kontext_app', 'kontext_ingest', 'kontext_read', 'kontext_retention', 'kontext_system'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- a migration of another database of this cluster was faster
      END;
    END IF;
    is_member := pg_has_role(current_user, wanted, 'MEMBER');
    IF current_setting('server_version_num')::int >= 160000 THEN
      is_member := pg_has_role(current_user, wanted, 'SET'); -- from 16 on, membership alone does not allow SET ROLE
    END IF;
    IF NOT is_member THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
    END IF;
  END LOOP;
END
$$;
--> statement-breakpoint

-- The organisation of the transaction; null when none was named, which no row matches.
CREATE FUNCTION kontext_org() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  AS $$ SELECT nullif(current_setting('kontext.org_id', true), '') $$;
--> statement-breakpoint

-- Asked besides the policies' TO, which a login that inherits its roles' rights would satisfy without SET ROLE.
CREATE FUNCTION kontext_sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
  AS $$ SELECT current_user IN ('kontext_system', 'kontext_retention') $$;
--> statement-breakpoint

DO $$
DECLARE
  tab text;
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO kontext_app, kontext_ingest, kontext_read, kontext_retention, kontext_system', current_schema());
  -- FORCE: the owner of the tables is bound too, so that a forgotten SET ROLE finds nothing instead of everything.
  FOREACH tab IN ARRAY ARRAY['users', 'memberships', 'identities', 'local_accounts', 'agents', 'agent_providers', 'sessions',
      'providers', 'connections', 'secrets', 'connect_tickets', 'leases', 'policies', 'policy_versions', 'signing_keys',
      'audit_streams', 'audit_stream_days', 'audit_events', 'audit_payloads', 'oidc_payloads'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tab);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tab);
    EXECUTE format('CREATE POLICY own_org ON %I TO kontext_app, kontext_ingest, kontext_read '
      'USING (org_id = (SELECT kontext_org())) WITH CHECK (org_id = (SELECT kontext_org()))', tab);
    EXECUTE format('CREATE POLICY every_org ON %I TO kontext_system, kontext_retention '
      'USING ((SELECT kontext_sees_all())) WITH CHECK ((SELECT kontext_sees_all()))', tab);
  END LOOP;
END
$$;
--> statement-breakpoint
ALTER TABLE orgs ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE orgs FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_org ON orgs TO kontext_app, kontext_ingest, kontext_read USING (id = (SELECT kontext_org()));
--> statement-breakpoint
CREATE POLICY every_org ON orgs TO kontext_system USING ((SELECT kontext_sees_all())) WITH CHECK ((SELECT kontext_sees_all()));
--> statement-breakpoint

GRANT SELECT ON orgs, users, memberships, identities, agents, agent_providers, sessions, providers, connections, secrets,
  connect_tickets, leases, policies, policy_versions, signing_keys, audit_streams, audit_stream_days, audit_events,
  audit_payloads TO kontext_app;
--> statement-breakpoint
GRANT INSERT ON users, memberships, agents, agent_providers, sessions, providers, connections, secrets, connect_tickets, leases,
  policies, policy_versions, signing_keys, audit_streams, audit_stream_days, audit_events, audit_payloads TO kontext_app;
--> statement-breakpoint
GRANT UPDATE ON users, memberships, agents, sessions, providers, connections, secrets, connect_tickets, leases, policies,
  signing_keys TO kontext_app;
--> statement-breakpoint
GRANT DELETE ON memberships, agents, agent_providers, providers, connections, secrets, connect_tickets TO kontext_app;
--> statement-breakpoint

GRANT SELECT ON orgs, users, sessions, audit_streams, audit_stream_days, audit_events, audit_payloads TO kontext_ingest;
--> statement-breakpoint
GRANT INSERT ON audit_stream_days, audit_events, audit_payloads TO kontext_ingest;
--> statement-breakpoint
-- Of a stream its head alone moves; nonce, owner and kind stay as they were made.
GRANT UPDATE (head_seq, head_hash, head_event_hash, part_day, part_started_at, updated_at) ON audit_streams
  TO kontext_app, kontext_ingest, kontext_system;
--> statement-breakpoint
GRANT UPDATE (tampered_at) ON sessions TO kontext_ingest;
--> statement-breakpoint

GRANT SELECT ON orgs, users, memberships, agents, agent_providers, sessions, providers, connections, leases, policies,
  policy_versions, audit_streams, audit_stream_days, audit_events, audit_payloads TO kontext_read;
--> statement-breakpoint
GRANT SELECT (kid, org_id, purpose, alg, public_jwk, active, created_at, retired_at) ON signing_keys TO kontext_read;
--> statement-breakpoint

GRANT SELECT, INSERT, UPDATE, DELETE ON orgs, users, memberships, identities, local_accounts, agents, agent_providers, sessions,
  providers, connections, secrets, connect_tickets, leases, signing_keys, oidc_payloads, dpop_proofs, rate_limits TO kontext_system;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON policies TO kontext_system;
--> statement-breakpoint
GRANT SELECT, INSERT ON policy_versions, audit_streams, audit_stream_days, audit_events, audit_payloads TO kontext_system;
--> statement-breakpoint

GRANT SELECT, DELETE ON oidc_payloads, dpop_proofs, rate_limits, connect_tickets TO kontext_retention;
--> statement-breakpoint

-- The classes a payload can be kept under. A hold is its own class, so that dropping the others leaves it.
CREATE TABLE audit_payloads_standard PARTITION OF audit_payloads FOR VALUES IN ('standard') PARTITION BY RANGE (part_day);
--> statement-breakpoint
CREATE TABLE audit_payloads_hold PARTITION OF audit_payloads FOR VALUES IN ('hold') PARTITION BY RANGE (part_day);
--> statement-breakpoint

-- Makes the partitions of `days` days from `first` on; those that exist are left alone. Runs with the rights of the owner,
-- and takes a lock so that replicas do not race.
CREATE FUNCTION kontext_make_partitions(first date, days integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  made integer := 0;
  day date;
  parent text;
  part text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('kontext.partitions', 0));
  FOR day IN SELECT first + i FROM generate_series(0, days - 1) AS i LOOP
    FOREACH parent IN ARRAY ARRAY['audit_events', 'audit_payloads_standard', 'audit_payloads_hold'] LOOP
      part := parent || '_' || to_char(day, 'YYYYMMDD');
      IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', part, parent, day, day + 1);
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
--> statement-breakpoint

-- Erases the payloads of one class and day by dropping their partition. Headers, hashes and chains stay.
CREATE FUNCTION kontext_erase_payloads(class text, day date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  part text := 'audit_payloads_' || class || '_' || to_char(day, 'YYYYMMDD');
BEGIN
  IF class NOT IN ('standard', 'hold') THEN
    RAISE EXCEPTION 'no such retention class: %', class;
  END IF;
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
  -- A function with the owner's rights must not look names up where a caller could plant them.
  EXECUTE format('ALTER FUNCTION kontext_make_partitions(date, integer) SET search_path = %I, pg_temp', current_schema());
  EXECUTE format('ALTER FUNCTION kontext_erase_payloads(text, date) SET search_path = %I, pg_temp', current_schema());
END
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION kontext_make_partitions(date, integer), kontext_erase_payloads(text, date) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION kontext_make_partitions(date, integer), kontext_erase_payloads(text, date) TO kontext_retention;
