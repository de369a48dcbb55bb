import type { EventKind } from '../event-kinds.ts';
import { eventKinds } from '../event-kinds.ts';
import { headerLimits } from '../header-limits.ts';
import type { IdPrefix } from '../ids.ts';
import { callKinds } from './call-kinds.ts';
import type { Fields, FieldType, KindSpec } from './kind-spec.ts';
import { organisationKinds } from './organisation-kinds.ts';
import { sessionKinds } from './session-kinds.ts';

/** Every kind, described. A kind that is missing here does not compile. */
export const kindSpecs: Readonly<Record<EventKind, KindSpec>> = {
  ...sessionKinds,
  ...callKinds,
  ...organisationKinds,
};

/** A JSON Schema, draft-07. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const orNull = (schema: JsonSchema): JsonSchema => ({ anyOf: [schema, { type: 'null' }] });
const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
const idOf = (prefix: IdPrefix): JsonSchema => ({ type: 'string', pattern: `^${prefix}_${uuid}$` });
const hash: JsonSchema = { type: 'string', pattern: '^[0-9a-f]{64}$' };
const textUpTo = (maxLength: number): JsonSchema => ({ type: 'string', minLength: 1, maxLength });
const instant: JsonSchema = {
  type: 'string',
  pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$',
};

const objectOf = (
  properties: Readonly<Record<string, JsonSchema>>,
  optional: readonly string[] = [],
): JsonSchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  additionalProperties: false,
});

/** The header, version 1: every member present, in this order. */
export const headerFields: Readonly<Record<string, readonly [JsonSchema, string]>> = {
  v: [{ const: 1 }, 'Version of the header.'],
  org: [idOf('org'), 'Organisation.'],
  stream: [idOf('str'), 'Stream it stands in.'],
  seq: [{ type: 'integer', minimum: 1 }, 'Place in the stream, from 1 without gaps.'],
  id: [idOf('evt'), 'Id of the event.'],
  kind: [{ enum: [...eventKinds] }, 'What happened, one of the kinds below.'],
  session: [orNull(idOf('ses')), 'Session; null in the stream of the organisation.'],
  user: [orNull(idOf('usr')), 'Who did it; null when nobody in particular.'],
  agent: [orNull(textUpTo(headerLimits.agent)), 'Coding agent by name.'],
  tool: [orNull(textUpTo(headerLimits.tool)), 'Tool, as the agent spells it.'],
  toolUse: [orNull(textUpTo(headerLimits.toolUse)), 'The agent’s id of the call; pairs its events.'],
  decision: [
    orNull({ enum: ['allow', 'deny', 'ask'] }),
    'What policy or a person said; in `observe` a deny is not carried out.',
  ],
  rule: [orNull(textUpTo(headerLimits.rule)), 'Rule that decided.'],
  policyVersion: [orNull({ type: 'integer', minimum: 0 }), 'Version of the policy.'],
  mode: [orNull({ enum: ['observe', 'enforce'] }), 'Whether a deny was carried out.'],
  occurredAt: [instant, 'Clock of the writer, RFC 3339 in UTC.'],
  lineage: [
    objectOf({
      leases: { type: 'array', items: idOf('lea'), maxItems: headerLimits.leases },
      connection: orNull(idOf('con')),
      approval: orNull(idOf('apr')),
      serverEvent: orNull(hash),
    }),
    'What else it belongs to: `leases`, `connection`, `approval`, and with `serverEvent` the hash of the newest event of the session’s other stream.',
  ],
  redaction: [
    { enum: ['full-v1', 'exact-v1', 'none'] },
    'How the payload was redacted before it was hashed: patterns, names and exact values; exact values only; not at all (events of the backend, which hold facts).',
  ],
  payloadHash: [orNull(hash), 'Hash of salt and payload; null when it was written without one.'],
  missing: [
    orNull({ const: 'payload' }),
    '`payload` when there should have been one and is not: a killed session, a search that took too long, a full disk.',
  ],
};

const bases: Readonly<Record<string, JsonSchema>> = {
  text: { type: 'string' },
  count: { type: 'integer', minimum: 0 },
  flag: { type: 'boolean' },
  instant,
  texts: { type: 'array', items: { type: 'string' } },
  object: { type: 'object' },
  any: {},
};

function schemaOfType(type: FieldType): JsonSchema {
  const isNullable = type.startsWith('null|');
  const base = bases[type.replace('null|', '').replace('?', '')] ?? {};
  return isNullable ? orNull(base) : base;
}

function schemaOfFields(fields: Fields): JsonSchema {
  const entries = Object.entries(fields);
  const properties = Object.fromEntries(
    entries.map(([name, [type, says]]) => [name, { ...schemaOfType(type), description: says }]),
  );
  return objectOf(
    properties,
    entries.filter(([, [type]]) => type.endsWith('?')).map(([name]) => name),
  );
}

/** The schema of headers and, under `definitions`, that of each kind's payload by the kind's name. */
export function eventSchema(): JsonSchema {
  const properties = Object.fromEntries(
    Object.entries(headerFields).map(([name, [schema, says]]) => [name, { ...schema, description: says }]),
  );
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: 'urn:kontext:audit-event:v1',
    title: 'Header of a kontext audit event, version 1; payloads by kind in definitions',
    ...objectOf(properties),
    definitions: Object.fromEntries(
      eventKinds.map((name) => {
        const { says, forms } = kindSpecs[name];
        const schemas = forms.map(({ fields }) => schemaOfFields(fields));
        return [name, { description: says, ...(schemas.length === 1 ? schemas[0] : { anyOf: schemas }) }];
      }),
    ),
  };
}
