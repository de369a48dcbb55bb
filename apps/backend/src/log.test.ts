import { Writable } from 'node:stream';
import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import { createLogger, type Logger } from './log.ts';

const record = (write: (logger: Logger) => void): string => {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  write(createLogger('debug', sink));
  return lines.join('');
};

describe('createLogger', () => {
  it('logs a request without query, authorization, proof and cookie', () => {
    const line = record((logger) =>
      logger.info({
        req: {
          method: 'GET',
          url: '/activate?user_code=BCDF-GHJK',
          ip: '127.0.0.1',
          id: 'r1',
          headers: {
            authorization: 'DPoP s3cret',
            dpop: 's3cret',
            cookie: 's3cret',
            'user-agent': 'kontext/0.1',
          },
        },
      }),
    );
    expect(line).toContain('"path":"/activate"');
    expect(line).toContain('kontext/0.1');
    expect(line).not.toMatch(/s3cret|BCDF/);
  });

  it('keeps the message of our own errors and drops that of foreign ones, to any depth of causes', () => {
    const foreign = new Error('params: s3cret', { cause: new Error('s3cret') });
    const line = record((logger) => {
      logger.error({ err: new KontextError('KX_TEMPORARY', 'the store is busy', { cause: foreign }) });
    });
    expect(line).toContain('the store is busy');
    expect(line).toContain('KX_TEMPORARY');
    expect(line).not.toContain('s3cret');
  });

  it('survives a thrown value that is no error', () => {
    expect(record((logger) => logger.error({ err: 's3cret' }))).not.toContain('s3cret');
  });
});
