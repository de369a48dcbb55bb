/** Recall and precision on texts of ordinary work, written from the public documentation of providers. */
import { describe, expect, it } from 'vitest';
import { createPayloadRedactor } from './index.ts';
import { lookalikes } from './test-lookalikes.ts';
import { missed, names, settings, syntaxes } from './test-secrets.ts';
import { places, tokens } from './test-tokens.ts';
import { writeExample } from './test-values.ts';

const redactor = createPayloadRedactor({ secrets: [], nowMs: () => 0 });
const seeds = [7, 1009, 65_537];

function redact(text: string): string {
  const redacted = redactor.redactText(text);
  if (redacted.kind === 'omitted') throw new Error(`omitted: ${redacted.reason}`);
  return redacted.text;
}

/** Whether a text shows a value, or half of it. */
const shows = (text: string, secret: string): boolean => {
  const half = Math.max(6, secret.length >> 1);
  return text.includes(secret.slice(0, half)) || text.includes(secret.slice(-half));
};

/** The seeds with which something of a secret is left. */
const leaksOf = (template: string): number[] =>
  seeds.filter((seed) => {
    const { text, secrets } = writeExample(template, seed);
    const redacted = redact(text);
    return secrets.some((secret) => shows(redacted, secret));
  });

describe('tokens of providers', () => {
  it.each(tokens)('leave nothing of %s in any place', (token) => {
    const left = places.filter((place) =>
      seeds.some((seed) => {
        const value = writeExample(token, seed).text;
        const redacted = redact(place(value));
        return shows(redacted, value) || shows(redacted, encodeURIComponent(value));
      }),
    );

    expect(left.map((place) => place('TOKEN'))).toEqual([]);
  });
});

describe('credentials by their surroundings', () => {
  it.each(settings)('leave nothing of %j', (template) => {
    expect(leaksOf(template)).toEqual([]);
  });

  it.each(syntaxes)('leave nothing of %j under any name', (syntax) => {
    const left = names.filter((name) => leaksOf(syntax.replaceAll('¤', name)).length > 0);

    expect(left).toEqual([]);
  });

  it.each(missed)('are missed as %j: move it up once it is found', (template) => {
    expect(leaksOf(template)).not.toEqual([]);
  });
});

describe('what only looks alike', () => {
  it.each(lookalikes)('survives: %j', (text) => {
    expect(redact(text)).toBe(text);
  });

  it('survives in one long text too', () => {
    const text = lookalikes.filter((line) => !/["'`|]/.test(line)).join('\n\n');

    expect(redact(text)).toBe(text);
  });
});
