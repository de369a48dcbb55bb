/** Whether a version is older than another; what is no version counts as older. */
export function isOlder(version: string, other: string): boolean {
  const [a, b] = [version, other].map((text) => text.split(/[.+-]/).slice(0, 3).map(Number));
  for (const [index, part] of (a ?? []).entries()) {
    const against = b?.[index] ?? 0;
    if (part !== against) return !(part > against);
  }
  return false;
}
