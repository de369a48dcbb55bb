import { KontextError } from '@kontext/errors';
import { templateLimits } from './env-template.ts';
import { createLocator } from './locator.ts';

/**
 * Turns the bytes of a template into text with `\n` line ends, without a byte order mark.
 *
 * @throws KontextError `KX_TEMPLATE_TOO_LARGE` beyond 1 MiB.
 * @throws KontextError `KX_TEMPLATE_NOT_UTF8` when the bytes are not UTF-8.
 * @throws KontextError `KX_TEMPLATE_SYNTAX` at a NUL byte, which no environment can hold; `details` has line and column.
 */
export function decodeTemplate(bytes: Uint8Array): string {
  if (bytes.length > templateLimits.fileBytes) {
    throw new KontextError('KX_TEMPLATE_TOO_LARGE', 'the env template is larger than 1 MiB');
  }
  const text = decodeUtf8(bytes).replace(/\r\n?/g, '\n');
  const nulAt = text.indexOf('\0');
  if (nulAt >= 0) {
    const { line, column } = createLocator(text)(nulAt);
    throw new KontextError('KX_TEMPLATE_SYNTAX', 'the env template holds a NUL byte', {
      why: `line ${line}, column ${column} holds a byte that no environment variable can carry`,
      hint: 'remove the byte; an env template is plain text',
      details: { line, column },
    });
  }
  return text;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new KontextError('KX_TEMPLATE_NOT_UTF8', 'the env template is not valid UTF-8', { cause });
  }
}
