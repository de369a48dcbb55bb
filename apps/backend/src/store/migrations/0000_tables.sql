-- Made by drizzle-kit; the two PARTITION BY clauses are written by hand.
CREATE TABLE "audit_events" (
	"part_day" date NOT NULL,
	"stream_id" text NOT NULL,
	"seq" bigint NOT NULL,
	"org_id" text NOT NULL,
	"event_id" text NOT NULL,
	"kind" text NOT NULL,
	"session_id" text,
	"user_id" text,
	"agent" text,
	"tool" text,
	"tool_use_id" text,
	"decision" text,
	"rule" text,
	"policy_version" bigint,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	"late" boolean NOT NULL,
	"header" text NOT NULL,
	"chain" "bytea" NOT NULL,
	CONSTRAINT "audit_events_part_day_stream_id_seq_pk" PRIMARY KEY("part_day","stream_id","seq")
) PARTITION BY RANGE ("part_day");
--> statement-breakpoint
CREATE TABLE "audit_payloads" (
	"retention_class" text NOT NULL,
	"part_day" date NOT NULL,
	"stream_id" text NOT NULL,
	"seq" bigint NOT NULL,
	"org_id" text NOT NULL,
	"salt" "bytea" NOT NULL,
	"payload" text NOT NULL,
	CONSTRAINT "audit_payloads_retention_class_part_day_stream_id_seq_pk" PRIMARY KEY("retention_class","part_day","stream_id","seq")
) PARTITION BY LIST ("retention_class");
--> statement-breakpoint
CREATE TABLE "audit_stream_days" (
	"org_id" text NOT NULL,
	"stream_id" text NOT NULL,
	"first_seq" bigint NOT NULL,
	"part_day" date NOT NULL,
	CONSTRAINT "audit_stream_days_stream_id_first_seq_pk" PRIMARY KEY("stream_id","first_seq")
);
--> statement-breakpoint
CREATE TABLE "audit_streams" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"kind" text NOT NULL,
	"session_id" text,
	"user_id" text,
	"nonce" "bytea" NOT NULL,
	"head_seq" bigint DEFAULT 0 NOT NULL,
	"head_hash" "bytea" NOT NULL,
	"head_event_hash" "bytea",
	"part_day" date NOT NULL,
	"part_started_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "dpop_proofs" (
	"jti_hash" text PRIMARY KEY NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "oidc_payloads" (
	"model" text NOT NULL,
	"id_hash" text NOT NULL,
	"payload" text NOT NULL,
	"grant_id_hash" text,
	"user_code_hash" text,
	"uid_hash" text,
	"account_id" text,
	"org_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"consumed_at" timestamp (3) with time zone,
	"grace_used_at" timestamp (3) with time zone,
	CONSTRAINT "oidc_payloads_model_id_hash_pk" PRIMARY KEY("model","id_hash")
);
--> statement-breakpoint
CREATE TABLE "rate_limits" (
	"key" text NOT NULL,
	"window_start" timestamp (3) with time zone NOT NULL,
	"count" integer NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "rate_limits_key_window_start_pk" PRIMARY KEY("key","window_start")
);
--> statement-breakpoint
CREATE TABLE "agents" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"name" text NOT NULL,
	"built_in" boolean DEFAULT false NOT NULL,
	"ceiling_scopes" text[],
	"max_ttl_seconds" integer DEFAULT 3600 NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "agents_org_name_key" UNIQUE("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "identities" (
	"iss" text NOT NULL,
	"sub" text NOT NULL,
	"org_id" text NOT NULL,
	"user_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"last_login_at" timestamp (3) with time zone,
	CONSTRAINT "identities_iss_sub_pk" PRIMARY KEY("iss","sub")
);
--> statement-breakpoint
CREATE TABLE "local_accounts" (
	"user_id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"name" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"salt" "bytea" NOT NULL,
	"params" text NOT NULL,
	"failed_count" integer DEFAULT 0 NOT NULL,
	"locked_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "local_accounts_org_name_key" UNIQUE("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "memberships" (
	"org_id" text NOT NULL,
	"user_id" text NOT NULL,
	"role" text NOT NULL,
	"groups" text[] DEFAULT '{}'::text[] NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "memberships_org_id_user_id_pk" PRIMARY KEY("org_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "orgs" (
	"id" text PRIMARY KEY NOT NULL,
	"slug" text NOT NULL,
	"name" text NOT NULL,
	"mode" text DEFAULT 'observe' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "orgs_slug_unique" UNIQUE("slug")
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"disabled_at" timestamp (3) with time zone,
	CONSTRAINT "users_org_id_id_key" UNIQUE("org_id","id")
);
--> statement-breakpoint
CREATE TABLE "agent_providers" (
	"org_id" text NOT NULL,
	"agent_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "agent_providers_agent_id_provider_id_pk" PRIMARY KEY("agent_id","provider_id")
);
--> statement-breakpoint
CREATE TABLE "connect_tickets" (
	"ticket_hash" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"user_id" text NOT NULL,
	"connection_id" text NOT NULL,
	"scopes" text[] DEFAULT '{}'::text[] NOT NULL,
	"state_hash" text,
	"browser_hash" text,
	"verifier_secret_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"opened_at" timestamp (3) with time zone,
	"consumed_at" timestamp (3) with time zone,
	CONSTRAINT "connect_tickets_state_hash_unique" UNIQUE("state_hash")
);
--> statement-breakpoint
CREATE TABLE "connections" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"user_id" text,
	"name" text DEFAULT 'default' NOT NULL,
	"state" text NOT NULL,
	"scopes" text[] DEFAULT '{}'::text[] NOT NULL,
	"secret_id" text,
	"version" integer DEFAULT 0 NOT NULL,
	"access_expires_at" timestamp (3) with time zone,
	"account" text,
	"failure" text,
	"refresh_started_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"connected_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"state" text NOT NULL,
	"kind" text NOT NULL,
	"jti" text,
	"parent_lease_id" text,
	"session_id" text,
	"connection_id" text,
	"provider_id" text,
	"provider" text NOT NULL,
	"user_id" text NOT NULL,
	"agent_id" text,
	"subject" text NOT NULL,
	"actor" text,
	"audience" text NOT NULL,
	"scope" text[] DEFAULT '{}'::text[] NOT NULL,
	"delivery" text NOT NULL,
	"planned_name" text,
	"upstream_expires_at" timestamp (3) with time zone,
	"expires_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"activated_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"end_reason" text,
	CONSTRAINT "leases_jti_unique" UNIQUE("jti")
);
--> statement-breakpoint
CREATE TABLE "providers" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"authorization_endpoint" text DEFAULT '' NOT NULL,
	"token_endpoint" text DEFAULT '' NOT NULL,
	"revocation_endpoint" text DEFAULT '' NOT NULL,
	"client_id" text DEFAULT '' NOT NULL,
	"client_secret_id" text,
	"client_auth" text DEFAULT 'none' NOT NULL,
	"scopes" text[] DEFAULT '{}'::text[] NOT NULL,
	"callback_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "providers_callback_id_unique" UNIQUE("callback_id"),
	CONSTRAINT "providers_org_name_key" UNIQUE("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "policies" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"team" text DEFAULT '' NOT NULL,
	"newest_version" bigint NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "policies_org_team_key" UNIQUE("org_id","team")
);
--> statement-breakpoint
CREATE TABLE "policy_versions" (
	"org_id" text NOT NULL,
	"policy_id" text NOT NULL,
	"version" bigint NOT NULL,
	"policies" text NOT NULL,
	"hash" text NOT NULL,
	"author" text NOT NULL,
	"reason" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "policy_versions_policy_id_version_pk" PRIMARY KEY("policy_id","version")
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"user_id" text NOT NULL,
	"agent_id" text NOT NULL,
	"agent" text NOT NULL,
	"agent_version" text NOT NULL,
	"hostname" text NOT NULL,
	"cli_version" text NOT NULL,
	"state" text NOT NULL,
	"mode" text NOT NULL,
	"policy_version" bigint NOT NULL,
	"login_grant_id" text NOT NULL,
	"hook_config_hash" text DEFAULT '' NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"last_heartbeat_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone,
	"exit_code" integer,
	"tampered_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text,
	"purpose" text NOT NULL,
	"subject_id" text NOT NULL,
	"version" integer NOT NULL,
	"format" integer NOT NULL,
	"kek_id" text NOT NULL,
	"wrapped_dek" "bytea" NOT NULL,
	"iv" "bytea" NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"replaced_at" timestamp (3) with time zone,
	CONSTRAINT "secrets_context_key" UNIQUE("purpose","subject_id","version")
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"kid" text PRIMARY KEY NOT NULL,
	"org_id" text,
	"purpose" text NOT NULL,
	"alg" text NOT NULL,
	"public_jwk" text,
	"secret_id" text NOT NULL,
	"active" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"retired_at" timestamp (3) with time zone
);
--> statement-breakpoint
ALTER TABLE "audit_stream_days" ADD CONSTRAINT "audit_stream_days_stream_id_audit_streams_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."audit_streams"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_streams" ADD CONSTRAINT "audit_streams_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "agents" ADD CONSTRAINT "agents_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "identities" ADD CONSTRAINT "identities_org_id_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "local_accounts" ADD CONSTRAINT "local_accounts_org_id_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_org_id_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "agent_providers" ADD CONSTRAINT "agent_providers_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "agent_providers" ADD CONSTRAINT "agent_providers_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "agent_providers" ADD CONSTRAINT "agent_providers_provider_id_providers_id_fk" FOREIGN KEY ("provider_id") REFERENCES "public"."providers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connect_tickets" ADD CONSTRAINT "connect_tickets_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connect_tickets" ADD CONSTRAINT "connect_tickets_connection_id_connections_id_fk" FOREIGN KEY ("connection_id") REFERENCES "public"."connections"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connect_tickets" ADD CONSTRAINT "connect_tickets_verifier_secret_id_secrets_id_fk" FOREIGN KEY ("verifier_secret_id") REFERENCES "public"."secrets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_provider_id_providers_id_fk" FOREIGN KEY ("provider_id") REFERENCES "public"."providers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_secret_id_secrets_id_fk" FOREIGN KEY ("secret_id") REFERENCES "public"."secrets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_org_id_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "leases" ADD CONSTRAINT "leases_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "providers" ADD CONSTRAINT "providers_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "providers" ADD CONSTRAINT "providers_client_secret_id_secrets_id_fk" FOREIGN KEY ("client_secret_id") REFERENCES "public"."secrets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "policies" ADD CONSTRAINT "policies_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "policy_versions" ADD CONSTRAINT "policy_versions_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "policy_versions" ADD CONSTRAINT "policy_versions_policy_id_policies_id_fk" FOREIGN KEY ("policy_id") REFERENCES "public"."policies"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_org_id_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "secrets" ADD CONSTRAINT "secrets_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD CONSTRAINT "signing_keys_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD CONSTRAINT "signing_keys_secret_id_secrets_id_fk" FOREIGN KEY ("secret_id") REFERENCES "public"."secrets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_events_org_received_idx" ON "audit_events" USING btree ("org_id","received_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_events_org_user_received_idx" ON "audit_events" USING btree ("org_id","user_id","received_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_events_denied_idx" ON "audit_events" USING btree ("org_id","received_at" DESC NULLS LAST) WHERE decision = 'deny';--> statement-breakpoint
CREATE INDEX "audit_events_org_tool_received_idx" ON "audit_events" USING btree ("org_id","tool","received_at" DESC NULLS LAST) WHERE tool IS NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "audit_streams_session_kind_key" ON "audit_streams" USING btree ("session_id","kind") WHERE session_id IS NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "audit_streams_admin_key" ON "audit_streams" USING btree ("org_id") WHERE kind = 'admin';--> statement-breakpoint
CREATE INDEX "audit_streams_org_updated_idx" ON "audit_streams" USING btree ("org_id","updated_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_streams_org_user_updated_idx" ON "audit_streams" USING btree ("org_id","user_id","updated_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_streams_org_id_idx" ON "audit_streams" USING btree ("org_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "dpop_proofs_expires_idx" ON "dpop_proofs" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "oidc_payloads_grant_idx" ON "oidc_payloads" USING btree ("grant_id_hash") WHERE grant_id_hash IS NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "oidc_payloads_user_code_key" ON "oidc_payloads" USING btree ("model","user_code_hash") WHERE user_code_hash IS NOT NULL;--> statement-breakpoint
CREATE INDEX "oidc_payloads_uid_idx" ON "oidc_payloads" USING btree ("model","uid_hash") WHERE uid_hash IS NOT NULL;--> statement-breakpoint
CREATE INDEX "oidc_payloads_account_idx" ON "oidc_payloads" USING btree ("account_id") WHERE account_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX "oidc_payloads_expires_idx" ON "oidc_payloads" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "rate_limits_expires_idx" ON "rate_limits" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "identities_user_idx" ON "identities" USING btree ("org_id","user_id");--> statement-breakpoint
CREATE INDEX "users_org_name_idx" ON "users" USING btree ("org_id","name");--> statement-breakpoint
CREATE INDEX "agent_providers_provider_idx" ON "agent_providers" USING btree ("provider_id");--> statement-breakpoint
CREATE INDEX "connect_tickets_expires_idx" ON "connect_tickets" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "connections_own_key" ON "connections" USING btree ("provider_id","user_id","name") WHERE user_id IS NOT NULL AND state <> 'revoked';--> statement-breakpoint
CREATE UNIQUE INDEX "connections_shared_key" ON "connections" USING btree ("provider_id","name") WHERE user_id IS NULL AND state <> 'revoked';--> statement-breakpoint
CREATE INDEX "connections_org_user_idx" ON "connections" USING btree ("org_id","user_id");--> statement-breakpoint
CREATE INDEX "leases_session_idx" ON "leases" USING btree ("session_id") WHERE state <> 'ended';--> statement-breakpoint
CREATE INDEX "leases_connection_idx" ON "leases" USING btree ("connection_id") WHERE state <> 'ended';--> statement-breakpoint
CREATE INDEX "leases_pending_idx" ON "leases" USING btree ("created_at") WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX "leases_expires_idx" ON "leases" USING btree ("expires_at") WHERE state = 'active';--> statement-breakpoint
CREATE INDEX "leases_org_user_id_idx" ON "leases" USING btree ("org_id","user_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "leases_session_id_idx" ON "leases" USING btree ("session_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "sessions_org_id_idx" ON "sessions" USING btree ("org_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "sessions_org_user_id_idx" ON "sessions" USING btree ("org_id","user_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "sessions_live_idx" ON "sessions" USING btree ("last_heartbeat_at") WHERE state = 'live';--> statement-breakpoint
CREATE INDEX "sessions_grant_idx" ON "sessions" USING btree ("login_grant_id") WHERE state = 'live';--> statement-breakpoint
CREATE INDEX "secrets_kek_idx" ON "secrets" USING btree ("kek_id","id");--> statement-breakpoint
CREATE INDEX "signing_keys_purpose_idx" ON "signing_keys" USING btree ("purpose","org_id") WHERE retired_at IS NULL;