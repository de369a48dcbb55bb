CREATE TABLE "audit_export_chunks" (
	"export_id" text NOT NULL,
	"org_id" text NOT NULL,
	"chunk" integer NOT NULL,
	"offset" bigint NOT NULL,
	"data" "bytea" NOT NULL,
	CONSTRAINT "audit_export_chunks_export_id_chunk_pk" PRIMARY KEY("export_id","chunk")
);
--> statement-breakpoint
CREATE TABLE "audit_exports" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"user_id" text NOT NULL,
	"format" text NOT NULL,
	"query" text NOT NULL,
	"without_payloads" boolean NOT NULL,
	"state" text NOT NULL,
	"cursor" text DEFAULT '' NOT NULL,
	"claimed_until" timestamp (3) with time zone,
	"events" bigint DEFAULT 0 NOT NULL,
	"bytes" bigint DEFAULT 0 NOT NULL,
	"sha256" "bytea",
	"error" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"finished_at" timestamp (3) with time zone,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_holds" (
	"session_id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"reason" text NOT NULL,
	"held_by" text NOT NULL,
	"held_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_refs" (
	"org_id" text NOT NULL,
	"ref" text NOT NULL,
	"stream_id" text NOT NULL,
	"seq" bigint NOT NULL,
	"part_day" date NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "audit_refs_org_id_ref_stream_id_seq_pk" PRIMARY KEY("org_id","ref","stream_id","seq")
);
--> statement-breakpoint
CREATE TABLE "audit_rollup_positions" (
	"org_id" text PRIMARY KEY NOT NULL,
	"next_leaf" bigint NOT NULL,
	"counted_until" timestamp (3) with time zone,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_rollups" (
	"org_id" text NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"kind" text NOT NULL,
	"user_id" text NOT NULL,
	"agent" text NOT NULL,
	"tool" text NOT NULL,
	"decision" text NOT NULL,
	"mode" text NOT NULL,
	"count" bigint NOT NULL,
	CONSTRAINT "audit_rollups_org_id_hour_kind_user_id_agent_tool_decision_mode_pk" PRIMARY KEY("org_id","hour","kind","user_id","agent","tool","decision","mode")
);
--> statement-breakpoint
CREATE TABLE "audit_settings" (
	"org_id" text PRIMARY KEY NOT NULL,
	"payloads" text NOT NULL,
	"retention_class" text NOT NULL,
	"changed_by" text NOT NULL,
	"changed_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_sink_deliveries" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"sink_id" text NOT NULL,
	"state" text NOT NULL,
	"first_leaf" bigint NOT NULL,
	"last_leaf" bigint NOT NULL,
	"events" integer NOT NULL,
	"attempts" integer NOT NULL,
	"status" integer,
	"error" text DEFAULT '' NOT NULL,
	"at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_sinks" (
	"id" text PRIMARY KEY NOT NULL,
	"org_id" text NOT NULL,
	"name" text NOT NULL,
	"url" text NOT NULL,
	"kinds" text[] NOT NULL,
	"payloads" boolean NOT NULL,
	"secret_id" text NOT NULL,
	"state" text NOT NULL,
	"next_leaf" bigint NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp (3) with time zone NOT NULL,
	"claimed_until" timestamp (3) with time zone,
	"last_error" text DEFAULT '' NOT NULL,
	"last_delivered_at" timestamp (3) with time zone,
	"failing_since" timestamp (3) with time zone,
	"created_by" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "sessions" ADD COLUMN "repository" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_export_chunks" ADD CONSTRAINT "audit_export_chunks_export_id_audit_exports_id_fk" FOREIGN KEY ("export_id") REFERENCES "public"."audit_exports"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_exports" ADD CONSTRAINT "audit_exports_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_holds" ADD CONSTRAINT "audit_holds_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_rollup_positions" ADD CONSTRAINT "audit_rollup_positions_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_settings" ADD CONSTRAINT "audit_settings_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_sink_deliveries" ADD CONSTRAINT "audit_sink_deliveries_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_sink_deliveries" ADD CONSTRAINT "audit_sink_deliveries_sink_id_audit_sinks_id_fk" FOREIGN KEY ("sink_id") REFERENCES "public"."audit_sinks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_sinks" ADD CONSTRAINT "audit_sinks_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_sinks" ADD CONSTRAINT "audit_sinks_secret_id_secrets_id_fk" FOREIGN KEY ("secret_id") REFERENCES "public"."secrets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_exports_org_idx" ON "audit_exports" USING btree ("org_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_exports_running_idx" ON "audit_exports" USING btree ("claimed_until") WHERE state = 'running';--> statement-breakpoint
CREATE INDEX "audit_refs_received_idx" ON "audit_refs" USING btree ("org_id","ref","received_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_sink_deliveries_sink_idx" ON "audit_sink_deliveries" USING btree ("sink_id","id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_sink_deliveries_dead_idx" ON "audit_sink_deliveries" USING btree ("sink_id","first_leaf") WHERE state = 'dead';--> statement-breakpoint
CREATE UNIQUE INDEX "audit_sinks_org_name_key" ON "audit_sinks" USING btree ("org_id","name");--> statement-breakpoint
CREATE INDEX "audit_sinks_due_idx" ON "audit_sinks" USING btree ("due_at") WHERE state = 'active';--> statement-breakpoint
CREATE INDEX "sessions_org_repository_idx" ON "sessions" USING btree ("org_id","repository","id" DESC NULLS LAST) WHERE repository <> '';