/** Removes secrets from anything that is stored or shown. Pure: no I/O, clock or environment. */
export {
  createPayloadRedactor,
  fullRedaction,
  type OmittedPayload,
  type PayloadCheck,
  type PayloadRedactor,
  type PayloadRedactorOptions,
  type RedactionFacts,
  type StoredPayload,
} from './create-payload-redactor.ts';
export {
  createRedactor,
  type RedactedJson,
  type RedactedText,
  type Redactor,
  type RedactorOptions,
} from './create-redactor.ts';
export type { OmissionReason, PlainNames } from './payload-run.ts';
export { isSurelyClean } from './quick-check.ts';
export { Secret } from './secret.ts';
