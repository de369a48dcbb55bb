import { KontextError } from '@kontext/errors';
import type { FastifyInstance } from 'fastify';

/** Largest form in bytes; ours are a few hundred. */
const maxFormBytes = 16 * 1024;

/** A submitted form; every field stood in it once. */
export type Form = ReadonlyMap<string, string>;

/** Teaches one Fastify scope to read `application/x-www-form-urlencoded` bodies into a {@link Form}, and nothing else. */
export function acceptForms(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: maxFormBytes },
    (_request, body, done) => {
      try {
        done(null, parseForm(String(body)));
      } catch (error) {
        done(error as Error);
      }
    },
  );
}

/**
 * Parses a form body.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when a field stands in it twice.
 */
export function parseForm(body: string): Form {
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (form.has(name)) throw new KontextError('KX_REQUEST_INVALID', 'a form field was sent twice');
    form.set(name, value);
  }
  return form;
}
