/** The wire contract as generated from `proto/kontext/v1`; run `npm run generate` after changing it. */
export * from './gen/kontext/v1/approvals_pb.ts';
export * from './gen/kontext/v1/audit_pb.ts';
export * from './gen/kontext/v1/connections_pb.ts';
export * from './gen/kontext/v1/credentials_pb.ts';
export * from './gen/kontext/v1/errors_pb.ts';
export * from './gen/kontext/v1/organisation_pb.ts';
export * from './gen/kontext/v1/policies_pb.ts';
export * from './gen/kontext/v1/providers_pb.ts';
export * from './gen/kontext/v1/sessions_pb.ts';
export * from './gen/kontext/v1/sinks_pb.ts';
