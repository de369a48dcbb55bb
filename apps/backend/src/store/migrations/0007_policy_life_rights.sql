-- Rights and row-level security of the tables of 0006, and the publication of what held before there were publications.
DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['approvals', 'webhooks', 'webhook_deliveries', 'policy_publications'] LOOP
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
GRANT SELECT, INSERT, UPDATE ON approvals, webhooks, webhook_deliveries TO kontext_app;
--> statement-breakpoint
GRANT DELETE ON webhooks TO kontext_app;
--> statement-breakpoint
GRANT SELECT, INSERT ON policy_publications TO kontext_app;
--> statement-breakpoint
GRANT SELECT ON approvals, webhooks, webhook_deliveries, policy_publications TO kontext_read;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON approvals, webhooks, webhook_deliveries TO kontext_system;
--> statement-breakpoint
GRANT SELECT, INSERT ON policy_publications TO kontext_system;
--> statement-breakpoint
GRANT SELECT, DELETE ON approvals, webhook_deliveries TO kontext_retention;
--> statement-breakpoint
INSERT INTO policy_publications (org_id, seq, group_name, version, mode, author, reason, created_at)
  SELECT policies.org_id, policies.newest_version, '', policies.newest_version, orgs.mode, 'kontext',
    'held before publications were kept', policies.created_at
  FROM policies JOIN orgs ON orgs.id = policies.org_id WHERE policies.team = '';
