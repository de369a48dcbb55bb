ALTER TABLE "audit_sink_deliveries" ADD COLUMN "first_seq" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_sink_deliveries" ADD COLUMN "last_seq" bigint;--> statement-breakpoint
ALTER TABLE "audit_sink_deliveries" ADD COLUMN "first_at" timestamp (3) with time zone NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_sink_deliveries" ADD COLUMN "due_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "audit_sinks" ADD COLUMN "next_seq" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "audit_sink_deliveries_open_key" ON "audit_sink_deliveries" USING btree ("sink_id") WHERE state = 'failed';