import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommandOrThrow } from './run-command.ts';

/** A certificate for 127.0.0.1 that nobody vouches for, valid for a day, with its P-256 key; both PEM. */
export interface SelfSignedCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** @throws Error when the machine has no `openssl`. */
export async function createSelfSignedCertificate(): Promise<SelfSignedCertificate> {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-tls-'));
  try {
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '1'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    await runCommandOrThrow('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert]);
    return { cert: readFileSync(cert), key: readFileSync(key) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
