-- Rights and row-level security of the tables of 0002. A later table is added the same way, in a migration of its own.
DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['identity_providers', 'federated_logins', 'invitations', 'logins', 'denied_tokens', 'confirmations'] LOOP
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
GRANT SELECT, INSERT, UPDATE ON identity_providers, invitations, logins, denied_tokens, confirmations TO kontext_app;
--> statement-breakpoint
GRANT DELETE ON identity_providers TO kontext_app;
--> statement-breakpoint
GRANT SELECT, UPDATE ON identities TO kontext_app;
--> statement-breakpoint
GRANT UPDATE ON agent_providers TO kontext_app;
--> statement-breakpoint
GRANT SELECT ON identity_providers, invitations, logins, identities TO kontext_read;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON identity_providers, federated_logins, invitations, logins, denied_tokens, confirmations,
  keks TO kontext_system;
--> statement-breakpoint
GRANT SELECT, DELETE ON federated_logins, denied_tokens, confirmations TO kontext_retention;
