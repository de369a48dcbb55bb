import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';

/**
 * Makes a checker of recorded events against the published JSON Schema, by a validator that is not ours.
 *
 * @returns Names what is wrong with an event, a line each; nothing when it is as documented.
 */
export function createEventChecker(): (header: string, payload: string | null) => string[] {
  const path = new URL('../../audit/schema/audit-event-v1.json', import.meta.url);
  const schema = JSON.parse(readFileSync(path, 'utf8')) as { readonly $id: string };
  const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false });
  ajv.addSchema(schema);
  const compiled = new Map<string, ValidateFunction>();
  const problems = (pointer: string, value: unknown): string[] => {
    const known = compiled.get(pointer) ?? ajv.compile({ $ref: `${schema.$id}${pointer}` });
    compiled.set(pointer, known);
    known(value);
    return (known.errors ?? []).map(
      ({ instancePath, message, params }) => `${pointer}${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  };
  return (header, payload) => {
    const parsed = JSON.parse(header) as { readonly kind: string };
    const ofHeader = problems('', parsed);
    if (payload === null) return ofHeader;
    return [...ofHeader, ...problems(`#/definitions/${parsed.kind}`, JSON.parse(payload))];
  };
}
