import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { repositoryName } from './repository-name.ts';

const listed = (...remotes: [string, string][]): string =>
  remotes.map(([name, url]) => `remote.${name}.url\n${url}\0`).join('');

describe('the name of a repository', () => {
  it.each([
    ['https://github.com/acme/shop.git', 'github.com/acme/shop'],
    ['https://user:ghp_token@github.com/acme/shop', 'github.com/acme/shop'],
    ['https://user:p@ss@github.com/acme/shop', 'github.com/acme/shop'],
    ['git@GitHub.com:acme/shop.git', 'github.com/acme/shop'],
    ['ssh://git@host.test:2222/acme//shop.GIT/', 'host.test/acme/shop'],
    ['host.test:shop', 'host.test/shop'],
    ['https://host.test/acme/shop.git?token=x#y', 'host.test/acme/shop'],
    ['https://host.test', 'host.test'],
    ['ssh://git@[::1]:22/shop', '[::1]/shop'],
    ['https://host.test/@acme/shop', 'host.test/@acme/shop'],
    ['user:S3CRET@host.test:acme/shop', null],
    ['https://user:S3/CRET@host.test/acme/shop', null],
    ['https://user:S3CRET/@host.test/acme/shop', null],
    ['https://user:S3CRET#x@host.test/acme/shop', null],
    ['file:///srv/shop.git', null],
    ['/srv/shop.git', null],
    ['../shop', null],
    ['C:/shop', null],
    ['', null],
  ])('of %s is %s', (url, name) => {
    expect(repositoryName(listed(['origin', url]))).toBe(name);
  });

  it('is that of origin, else of the first remote', () => {
    const [a, b]: [string, string][] = [
      ['fork', 'https://a.test/x'],
      ['origin', 'https://b.test/x'],
    ];
    expect([repositoryName(listed(a!, b!)), repositoryName(listed(a!)), repositoryName('')]).toEqual([
      ...['b.test/x', 'a.test/x', null],
    ]);
  });

  it('holds no password, control character or more than 256 characters, whatever the address', () => {
    const text = fc.string({ unit: 'binary', maxLength: 400 });
    fc.assert(
      fc.property(text, text, (host, path) => {
        const name = repositoryName(listed(['origin', `https://user:S3CRET@${host}/${path}`])) ?? '';
        expect(name).not.toContain('S3CRET');
        expect(name.length).toBeLessThanOrEqual(256);
        expect(name).not.toMatch(/\p{Cc}/u);
      }),
    );
  });
});
