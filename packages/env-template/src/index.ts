/** Text of `.env.kontext` in, entries with line numbers out. Pure: no file, clock or environment is touched. */
export {
  type Delivery,
  type Entry,
  type EnvTemplate,
  type Placeholder,
  type PlaceholderRef,
  type TemplateProblem,
  templateLimits,
} from './env-template.ts';
export { parseEnvTemplate } from './parse-env-template.ts';
export { type ParsedPlaceholder, parsePlaceholder } from './parse-placeholder.ts';
export { isRefusedName, refusedNames } from './refused-names.ts';
export {
  listPlaceholders,
  type MissingValue,
  type RenderedEntries,
  renderEntries,
} from './render-entries.ts';
export { templateFingerprint } from './template-fingerprint.ts';
