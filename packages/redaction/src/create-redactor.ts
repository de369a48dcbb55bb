import type { Secret } from './secret.ts';

/** What became of a text. */
export interface RedactedText {
  /** The text with every found copy replaced by `[redacted]`; empty when `omitted`. */
  readonly text: string;
  /** Places that were replaced. */
  readonly hits: number;
  /** True when the budget was exceeded: nothing of the input may be used. */
  readonly omitted: boolean;
}

/** What became of a JSON value. */
export interface RedactedJson {
  /** A copy with every string, key and number redacted; null when `omitted`. */
  readonly value: unknown;
  readonly hits: number;
  readonly omitted: boolean;
}

/** Removes the secrets it was made with. */
export interface Redactor {
  redactText(text: string): RedactedText;
  redactJson(value: unknown): RedactedJson;
}

/** Makes a redactor for a session's secrets. */
export function createRedactor(secrets: readonly Secret[]): Redactor {
  const values = secrets.map((secret) => secret.reveal()).filter((value) => value !== '');
  const redactText = (text: string): RedactedText => {
    let hits = 0;
    let out = text;
    for (const value of values) {
      const pieces = out.split(value);
      hits += pieces.length - 1;
      out = pieces.join('[redacted]');
    }
    return { text: out, hits, omitted: false };
  };
  return {
    redactText,
    redactJson(value) {
      const { text, hits } = redactText(JSON.stringify(value));
      return { value: JSON.parse(text), hits, omitted: false };
    },
  };
}
