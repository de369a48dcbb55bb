/** Longest name that is told. */
const maxNameLength = 256;
const unsafe = /[\p{Cc}\p{Cf}\p{Surrogate}\u2028\u2029]/gu;

/**
 * The name of a repository by its remotes: host and path of `origin`, else of the first, such as `github.com/acme/shop`.
 *
 * User, password, port, query, a `.git` at the end and control characters are left out; host in lower case.
 *
 * @param listed What `git config --null --get-regexp '^remote\..*\.url$'` printed: `key LF value NUL` for each.
 * @returns Null when there is none, it is a directory of this machine, or what may be a password stands in the wrong place.
 */
export function repositoryName(listed: string): string | null {
  const remotes = listed
    .split('\0')
    .map((entry) => [entry.slice(0, entry.indexOf('\n')), entry.slice(entry.indexOf('\n') + 1)] as const)
    .filter(([key]) => key !== '');
  const [, url] = remotes.find(([key]) => key === 'remote.origin.url') ?? remotes[0] ?? [];
  return url === undefined ? null : nameOfUrl(url);
}

function nameOfUrl(url: string): string | null {
  const [, scheme, authority, path] =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)/i.exec(url) ??
    // "git@host:path", as scp takes it; a letter alone before the colon is a drive.
    /^()((?:[^/@:]+@)?[^/@:]{2,}):([^?#]*)/.exec(url) ??
    [];
  if (authority === undefined || path === undefined || scheme?.toLowerCase() === 'file') return null;
  const host = authority
    .slice(authority.lastIndexOf('@') + 1)
    .replace(/:\d*$/, '')
    .toLowerCase();
  // Part of a password that is not written as an address wants it, so that git itself takes it for host or path.
  if (/^[^[]*:/.test(host) || /[^/]@/.test(path)) return null;
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  const last = names.pop()?.replace(/\.git$/i, '') ?? '';
  const name = [host, ...names, last].filter((part) => part !== '').join('/');
  return host === '' ? null : name.slice(0, maxNameLength).replaceAll(unsafe, '\ufffd');
}
