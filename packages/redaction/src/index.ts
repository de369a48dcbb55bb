/** Removes secrets from anything that is stored or shown. Pure: no I/O, clock or environment. */
export {
  createRedactor,
  type RedactedJson,
  type RedactedText,
  type Redactor,
  type RedactorOptions,
} from './create-redactor.ts';
export { Secret } from './secret.ts';
