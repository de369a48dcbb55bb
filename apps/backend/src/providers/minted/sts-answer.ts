/**
 * Answers of AWS STS. They are XML of a fixed shape, so this reads that shape and refuses everything else: a document type,
 * an entity, a comment, an element that is there twice.
 */

/** Temporary credentials. */
export interface StsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresAt: Date;
}

const shapes = {
  AccessKeyId: /^[\w]{16,128}$/,
  SecretAccessKey: /^[\x21-\x7e]{1,256}$/,
  SessionToken: /^[\x21-\x7e]{1,65536}$/,
  Expiration: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
} as const;

/** Reads the credentials of an `AssumeRole…` answer; null when it is not one. */
export function parseStsCredentials(xml: string): StsCredentials | null {
  const inner = only(xml, 'Credentials');
  if (inner === null || !isPlain(xml)) return null;
  const read = (name: keyof typeof shapes): string | null => {
    const value = only(inner, name);
    return value !== null && shapes[name].test(value) && !/[<>&]/.test(value) ? value : null;
  };
  const [accessKeyId, secretAccessKey] = [read('AccessKeyId'), read('SecretAccessKey')];
  const [sessionToken, expiration] = [read('SessionToken'), read('Expiration')];
  if (accessKeyId === null || secretAccessKey === null || sessionToken === null || expiration === null) {
    return null;
  }
  const expiresAt = new Date(expiration);
  if (Number.isNaN(expiresAt.getTime())) return null;
  return { accessKeyId, secretAccessKey, sessionToken, expiresAt };
}

/** Reads the code of an error answer; null when it is not one. */
export function parseStsError(xml: string): string | null {
  const inner = isPlain(xml) ? only(xml, 'Error') : null;
  const code = inner === null ? null : only(inner, 'Code');
  return code !== null && /^[A-Za-z.]{1,64}$/.test(code) ? code : null;
}

/** No document type, comment, CDATA, processing instruction (but the first) or attribute besides a namespace. */
const isPlain = (xml: string): boolean => {
  const rest = xml.trim().replace(/^<\?xml [^?<>]*\?>/, '');
  return !/<[!?]/.test(rest);
};

/** Text of the one element of that name; null when there is none, or several. */
function only(xml: string, name: string): string | null {
  const parts = xml.split(`<${name}>`);
  const [inner, ...more] = (parts[1] ?? '').split(`</${name}>`);
  return parts.length === 2 && more.length === 1 && inner !== undefined ? inner.trim() : null;
}
