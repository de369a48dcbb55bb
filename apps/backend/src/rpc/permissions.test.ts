import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { createDpopProof } from '@kontext/oauth';
import * as protocol from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, type TestLogin } from '../test-login.ts';
import type { AuthenticatedCaller } from './authenticate.ts';
import { checkPermission } from './enforce-permissions.ts';
import { type Permission, permissionOf, permissions, type Role, rpcNameOf, services } from './permissions.ts';

const roles: readonly Role[] = ['owner', 'admin', 'security', 'approver', 'auditor', 'member'];
const methods: readonly DescMethod[] = Object.values(services).flatMap((service) => service.methods);

describe('the table of permissions', () => {
  it('has a row for every RPC of the wire and for nothing else', () => {
    const onTheWire = Object.values(protocol).flatMap((value) =>
      typeof value === 'object' && 'kind' in value && value.kind === 'service' ? [value] : [],
    );
    expect(Object.values(services).map(({ typeName }) => typeName)).toEqual(
      expect.arrayContaining(onTheWire.map((service) => 'typeName' in service && service.typeName)),
    );
    expect(methods.map(rpcNameOf).sort()).toEqual(Object.keys(permissions).sort());
  });

  it('asks for a confirmation of unary calls alone: of a stream there is no one message to confirm', () => {
    const confirmed = methods.filter((method) => permissionOf(method)?.confirm !== undefined);
    expect(new Set(confirmed.map(({ methodKind }) => methodKind))).toEqual(new Set(['unary']));
  });

  it('lets nobody call what has no row, and no role it does not know', () => {
    const stray = { name: 'toString', parent: { name: 'Object' } } as DescMethod;
    expect(permissionOf(stray)).toBeNull();
    expect(() => checkPermission('X/Y', null, { role: 'owner', delegation: null })).toThrow(
      /nobody may call X\/Y/,
    );
    const row = { roles: ['owner', 'admin'] } as const;
    for (const role of ['', 'OWNER', 'root', 'own']) {
      expect(() => checkPermission('X/Y', row, { role, delegation: null })).toThrow(
        expect.objectContaining({ code: 'KX_FORBIDDEN', why: 'it is for owner or admin' }),
      );
    }
  });
});

describe('an agent with a delegation token', () => {
  const agent = { role: 'owner', delegation: {} as NonNullable<AuthenticatedCaller['delegation']> };
  it.each(Object.entries(permissions))('%s', (name, row: Permission<never>) => {
    const call = () => checkPermission(name, row as Permission<unknown>, agent);
    const allowed = ['ResolveCredentials', 'RenewCredentials', 'AttenuateCredential', 'GetCaller'];
    if (allowed.some((method) => name.endsWith(`/${method}`))) expect(call).not.toThrow();
    else expect(call).toThrow(expect.objectContaining({ code: 'KX_FORBIDDEN' }));
  });
});

describe.each(testStores())('roles at the router on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  const logins = new Map<Role, TestLogin>();
  beforeAll(async () => {
    opened = await open();
    // Nothing is implemented: whoever gets past the table is told so, and nothing is done.
    app = await startTestApp(opened.store, { kms });
    for (const role of roles) {
      const member = { orgSlug: 'default', name: `a-${role}`, role, groups: [], withPasscode: true };
      const owner = await addMember(opened.store, member, Date.now());
      logins.set(role, await logIn({ ...app, owner }));
    }
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  /** Sends an empty message; streams say how they ended in their last frame. */
  async function call(role: Role, method: DescMethod): Promise<ConnectError> {
    const { accessToken, jwk: key } = logins.get(role) as TestLogin;
    const url = `${app.apiUrl}/${method.parent.typeName}/${method.name}`;
    const streams = method.methodKind !== 'unary';
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `DPoP ${accessToken}`,
        dpop: await createDpopProof({ key, htm: 'POST', htu: url, accessToken, nowMs: Date.now() }),
        'content-type': streams ? 'application/connect+json' : 'application/json',
        'connect-protocol-version': '1',
      },
      body: streams ? new Uint8Array([0, 0, 0, 0, 2, 0x7b, 0x7d]) : '{}',
    });
    const text = await response.text();
    const body = JSON.parse(streams ? text.slice(5) : text) as Record<string, unknown>;
    const { code, message } = (streams ? body.error : body) as { code: string; message: string };
    const known = {
      permission_denied: Code.PermissionDenied,
      unimplemented: Code.Unimplemented,
      unauthenticated: Code.Unauthenticated,
    };
    return new ConnectError(message, known[code as keyof typeof known] ?? Code.Unknown);
  }

  it.each(methods.map((method) => [rpcNameOf(method), method] as const))('%s', async (name, method) => {
    const allowed = permissionOf(method)?.roles;
    for (const role of roles) {
      const { code, rawMessage } = await call(role, method);
      if (allowed === 'everybody' || allowed?.includes(role)) {
        // Nobody implements it, or a person has to confirm it first: both come after the role.
        const past = rawMessage.startsWith('confirm in the browser to ')
          ? Code.Unauthenticated
          : Code.Unimplemented;
        expect(code, `${role}: ${rawMessage}`).toBe(past);
      } else {
        expect(code, role).toBe(Code.PermissionDenied);
        expect(rawMessage).toBe(`the role ${role} may not call ${name}`);
      }
    }
  });
});
