import { setImmediate as tick } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { afterEach, describe, expect, it } from 'vitest';
import { createTestContext, type TestContext, type TestContextOptions } from './test-context.ts';

const contexts: TestContext[] = [];
const make = (options: TestContextOptions = {}) => {
  const context = createTestContext(options);
  contexts.push(context);
  return context;
};
afterEach(() => {
  for (const context of contexts.splice(0)) context.close();
});

describe('output', () => {
  it('puts results on standard output and words on standard error', () => {
    const context = make();
    context.terminal.out('result');
    context.terminal.note('words');
    expect(context.stdout()).toBe('result\n');
    expect(context.stderr()).toBe('kontext: words\n');
  });

  it('makes control and bidi characters of foreign text visible everywhere', () => {
    const { terminal, stdout, stderr } = make();
    const hostile = 'a\u001b]0;title\u0007b\u202ec\nd\u009b31m';
    terminal.out(hostile);
    terminal.note(hostile);
    terminal.warn(hostile);
    terminal.table(['H'], [[hostile]]);
    terminal.json({ hostile });
    terminal.error(new KontextError('KX_USAGE', hostile));
    for (const text of [stdout(), stderr()]) {
      expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u);
    }
    const document = stdout()
      .split('\n')
      .find((line) => line.startsWith('{'));
    expect(JSON.parse(document ?? '')).toEqual({ hostile });
  });

  it('separates columns by tabs and leaves the head out when nobody looks', () => {
    const { terminal, stdout } = make();
    terminal.table(['A', 'B'], [['1', '2']]);
    expect(stdout()).toBe('1\t2\n');
  });

  it('draws a status line on a terminal only, and removes it before anything else', () => {
    const piped = make();
    piped.terminal.status('waiting');
    expect(piped.stderr()).toBe('');
    const tty = make({ tty: true });
    tty.terminal.status('waiting');
    tty.terminal.note('done');
    expect(tty.stderr()).toBe('waiting\r\u001b[2Kkontext: done\n');
  });
});

describe('asking', () => {
  it('needs a terminal', async () => {
    const { terminal } = make();
    expect(terminal.interactive).toBe(false);
    expect(() => terminal.ask('sure?')).toThrow(expect.objectContaining({ code: 'KX_INPUT_NEEDED' }));
    expect(() => terminal.askHidden('key')).toThrow(expect.objectContaining({ code: 'KX_INPUT_NEEDED' }));
  });

  it('does not happen in CI, also on a terminal', () => {
    expect(make({ tty: true, env: { CI: '1' } }).terminal.interactive).toBe(false);
  });

  it('returns the line typed', async () => {
    const context = make({ tty: true });
    const answer = context.terminal.ask('sure?');
    await tick();
    context.type(' yes \n');
    expect(await answer).toBe('yes');
  });

  it('shows nothing of a secret, and takes corrections', async () => {
    const context = make({ tty: true });
    const answer = context.terminal.askHidden('key');
    context.type('sekrex\u007ft');
    await tick();
    context.type('\r');
    expect(await answer).toBe('sekret');
    expect(context.stderr()).not.toContain('sek');
  });

  it('ends with 130 on Ctrl-C in a hidden prompt', async () => {
    const context = make({ tty: true });
    const answer = context.terminal.askHidden('key');
    context.type('abc\u0003');
    await expect(answer).rejects.toMatchObject({ name: 'Interrupted', exitCode: 130 });
  });

  it('ends when the command is interrupted', async () => {
    const context = make({ tty: true });
    const answer = context.terminal.ask('sure?', context.signal);
    await tick();
    context.abort();
    await expect(answer).rejects.toMatchObject({ name: 'Interrupted' });
  });
});

it('refuses standard input beyond the limit', async () => {
  const { terminal } = make({ stdin: 'x'.repeat(11) });
  await expect(terminal.readStdin(10)).rejects.toMatchObject({ code: 'KX_SECRET_INVALID' });
});
