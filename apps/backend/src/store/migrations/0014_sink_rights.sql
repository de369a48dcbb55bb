-- A replay drops the message that is being sent, and sends what was given up again.
GRANT UPDATE, DELETE ON audit_sink_deliveries TO kontext_app;
