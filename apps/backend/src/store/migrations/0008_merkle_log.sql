CREATE TABLE "audit_checkpoints" (
	"org_id" text NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	"note" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "audit_checkpoints_org_id_size_pk" PRIMARY KEY("org_id","size")
);
--> statement-breakpoint
CREATE TABLE "audit_log_nodes" (
	"org_id" text NOT NULL,
	"level" integer NOT NULL,
	"position" bigint NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_log_nodes_org_id_level_position_pk" PRIMARY KEY("org_id","level","position")
);
--> statement-breakpoint
CREATE TABLE "audit_logs" (
	"org_id" text PRIMARY KEY NOT NULL,
	"size" bigint NOT NULL,
	"hashes" "bytea" NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_segments" (
	"org_id" text NOT NULL,
	"stream_id" text NOT NULL,
	"first_seq" bigint NOT NULL,
	"last_seq" bigint NOT NULL,
	"prev" "bytea" NOT NULL,
	"head" "bytea" NOT NULL,
	"leaf_index" bigint,
	"accepted_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "audit_segments_stream_id_first_seq_pk" PRIMARY KEY("stream_id","first_seq")
);
--> statement-breakpoint
ALTER TABLE "audit_logs" ADD CONSTRAINT "audit_logs_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_segments" ADD CONSTRAINT "audit_segments_stream_id_audit_streams_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."audit_streams"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "audit_segments_leaf_key" ON "audit_segments" USING btree ("org_id","leaf_index") WHERE leaf_index IS NOT NULL;--> statement-breakpoint
CREATE INDEX "audit_segments_waiting_idx" ON "audit_segments" USING btree ("org_id","stream_id","first_seq") WHERE leaf_index IS NULL;