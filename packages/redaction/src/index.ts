/** Removes secrets from anything that is stored or shown. */
export { createRedactor, type RedactedJson, type RedactedText, type Redactor } from './create-redactor.ts';
export { Secret } from './secret.ts';
