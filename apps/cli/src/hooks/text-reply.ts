import type { HookReply } from './frames.ts';

/** A reply from texts. */
export const textReply = (exitCode: number, stdout: string, stderr: string): HookReply => ({
  exitCode,
  stdout: Buffer.from(stdout, 'utf8'),
  stderr: Buffer.from(stderr, 'utf8'),
});
