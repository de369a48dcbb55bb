import { Secret } from '@kontext/redaction';
import { describe, expect, it } from 'vitest';
import { redactLater } from './redact-later.ts';

const first = 'first-value-4fd81c07';
const second = 'second-value-9b22e6a5';

describe('a redactor whose secrets are known later', () => {
  it('shows nothing before they are known', () => {
    const redactor = redactLater();
    expect(() => redactor.redactText(`token ${first}`)).toThrow('before the secrets were known');
    expect(() => redactor.redactJson([first])).toThrow('before the secrets were known');
  });

  it('hides what is added while it is in use, and what was there before', () => {
    const redactor = redactLater();
    redactor.hide([new Secret(first)]);
    expect(redactor.redactText(`${first} ${second}`).text).not.toContain(first);
    redactor.hide([new Secret(second)]);
    const { text } = redactor.redactText(`${first} ${second}`);
    expect(text).not.toContain(first);
    expect(text).not.toContain(second);
  });

  it('keeps the newest values where there are too many to keep', () => {
    const redactor = redactLater();
    redactor.hide([new Secret(first)]);
    redactor.hide(Array.from({ length: 1999 }, (_, n) => new Secret(`renewed-value-${n}-c41d`)));
    expect(redactor.redactText(first).text).not.toContain(first);
    redactor.hide([new Secret(second)]);
    expect(redactor.redactText(first).text).toContain(first);
    expect(redactor.redactText(second).text).not.toContain(second);
  });
});
