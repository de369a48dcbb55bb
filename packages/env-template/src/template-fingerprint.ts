import { createHash } from 'node:crypto';
import type { EnvTemplate } from './env-template.ts';
import { listPlaceholders } from './render-entries.ts';

/**
 * What trust in a template is bound to: the set of its placeholders and of its refused names (design §4.1).
 *
 * Comments, literals, order and spelling do not change it, so neither does a worktree or an edited comment.
 *
 * @returns SHA-256, 64 lower-case hex digits.
 */
export function templateFingerprint(template: EnvTemplate): string {
  const placeholders = listPlaceholders(template.entries).map(({ key }) => key);
  const refused = template.problems
    .filter(({ code }) => code === 'KX_TEMPLATE_REFUSED_NAME')
    .flatMap(({ name }) => name ?? []);
  const facts = ['kontext-template-v1', placeholders.sort(), [...new Set(refused)].sort()];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
}
