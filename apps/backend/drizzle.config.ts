import { defineConfig } from 'drizzle-kit';

/** Used by `npx drizzle-kit generate` alone: the backend runs its own migrator (src/store/migrate.ts). */
export default defineConfig({
  dialect: 'postgresql',
  schema: './src/store/schema.ts',
  out: './src/store/migrations',
});
