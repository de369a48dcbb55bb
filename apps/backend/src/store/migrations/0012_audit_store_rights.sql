-- Rights and row-level security of the tables of 0011.
DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['audit_refs', 'audit_rollups', 'audit_rollup_positions', 'audit_settings', 'audit_holds',
    'audit_exports', 'audit_export_chunks', 'audit_sinks', 'audit_sink_deliveries'] LOOP
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
-- References are written with the event they are of, and are never changed.
GRANT INSERT ON audit_refs TO kontext_app, kontext_ingest, kontext_system;
--> statement-breakpoint
GRANT SELECT ON audit_settings, audit_holds TO kontext_app, kontext_ingest, kontext_system, kontext_retention;
--> statement-breakpoint
GRANT INSERT, UPDATE ON audit_settings TO kontext_app;
--> statement-breakpoint
GRANT INSERT, DELETE ON audit_holds TO kontext_app;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON audit_exports, audit_sinks TO kontext_app;
--> statement-breakpoint
GRANT DELETE ON audit_sinks TO kontext_app;
--> statement-breakpoint
GRANT SELECT, INSERT ON audit_sink_deliveries TO kontext_app;
--> statement-breakpoint
GRANT SELECT ON audit_refs, audit_rollups, audit_rollup_positions, audit_settings, audit_holds, audit_exports, audit_export_chunks,
  audit_sinks, audit_sink_deliveries TO kontext_read;
--> statement-breakpoint
-- What goes on in the background, of every organisation: roll-ups, exports, sinks.
GRANT SELECT, INSERT, UPDATE ON audit_rollups, audit_rollup_positions, audit_exports, audit_sinks, audit_sink_deliveries
  TO kontext_system;
--> statement-breakpoint
GRANT SELECT, INSERT ON audit_export_chunks TO kontext_system;
--> statement-breakpoint
GRANT SELECT, DELETE ON audit_export_chunks, audit_sink_deliveries TO kontext_retention;
--> statement-breakpoint
GRANT SELECT, UPDATE ON audit_exports TO kontext_retention;
