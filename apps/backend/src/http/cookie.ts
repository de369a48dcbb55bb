/**
 * Reads one cookie of a `Cookie` header (RFC 6265 §5.4).
 *
 * @returns Its value, or null when it is missing or stands there twice: then one of them was planted from outside.
 */
export function readCookie(header: string | undefined, name: string): string | null {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? (values[0] ?? null) : null;
}

/**
 * Writes a `Set-Cookie` value: HttpOnly, SameSite=Lax, whole host, until the browser closes.
 *
 * Lax and not Strict: a provider sends the browser back to us, and that request must still know who it is.
 *
 * @param secure Set on https; the name then must begin with `__Host-` (RFC 6265bis §4.1.3.2).
 */
export function encodeCookie(name: string, value: string, secure: boolean): string {
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
}
