/** All tables, by area. After a change run `npx drizzle-kit generate` in apps/backend, then the store's tests. */
export * from './schema/approvals.ts';
export * from './schema/audit.ts';
export * from './schema/logins.ts';
export * from './schema/oidc.ts';
export * from './schema/organisation.ts';
export * from './schema/providers.ts';
export * from './schema/sessions.ts';
export * from './schema/vault.ts';
