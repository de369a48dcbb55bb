-- Rights and row-level security of the tables of 0008, and one segment for what each stream held before there were any.
DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['audit_segments', 'audit_logs', 'audit_log_nodes', 'audit_checkpoints'] LOOP
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
-- Whoever appends hands a segment in; only the sequencer puts it into the log.
GRANT INSERT ON audit_segments TO kontext_app, kontext_ingest;
--> statement-breakpoint
GRANT SELECT ON audit_checkpoints TO kontext_app, kontext_ingest;
--> statement-breakpoint
GRANT SELECT ON audit_segments, audit_logs, audit_log_nodes, audit_checkpoints TO kontext_read;
--> statement-breakpoint
GRANT SELECT, INSERT ON audit_segments, audit_logs, audit_log_nodes, audit_checkpoints TO kontext_system;
--> statement-breakpoint
GRANT UPDATE (leaf_index) ON audit_segments TO kontext_system;
--> statement-breakpoint
GRANT UPDATE ON audit_logs TO kontext_system;
--> statement-breakpoint
GRANT UPDATE (note) ON audit_checkpoints TO kontext_system;
--> statement-breakpoint
INSERT INTO audit_segments (org_id, stream_id, first_seq, last_seq, prev, head, accepted_at)
  SELECT org_id, id, 1, head_seq,
    sha256(convert_to('kontext-stream-v1', 'UTF8')
      || int4send(octet_length(convert_to(org_id, 'UTF8'))) || convert_to(org_id, 'UTF8')
      || int4send(octet_length(convert_to(id, 'UTF8'))) || convert_to(id, 'UTF8')
      || int4send(octet_length(nonce)) || nonce),
    head_hash, updated_at
  FROM audit_streams WHERE head_seq > 0;
