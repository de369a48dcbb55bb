import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import {
  ConfirmationService,
  ConfirmationState,
  ConnectionService,
  ErrorDetailSchema,
  ProviderKind,
  ProviderService,
} from '@kontext/protocol';
import { confirmInBrowser } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember, createOrg, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

interface Person {
  readonly account: NewLocalAccount;
  readonly providers: Client<typeof ProviderService>;
  readonly connections: Client<typeof ConnectionService>;
  readonly confirmations: Client<typeof ConfirmationService>;
}

describe.each(testStores())('confirmations at the router on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Person;
  let again: Person;
  let admin: Person;
  let stranger: Person;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    const bob = { orgSlug: 'default', name: 'bob', role: 'admin', groups: [], withPasscode: true };
    const elsewhere = { slug: 'elsewhere', owner: 'mallory', withPasscode: true };
    owner = await personOf(app.owner);
    again = await personOf(app.owner);
    admin = await personOf(await addMember(opened.store, bob, Date.now()));
    stranger = await personOf(await createOrg(opened.store, kms, elsewhere, Date.now()));
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function personOf(account: NewLocalAccount): Promise<Person> {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('authorization', `DPoP ${accessToken}`);
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const options = { baseUrl: app.apiUrl, httpVersion: '1.1' as const, interceptors: [prove] };
    const transport = createConnectTransport(options);
    const make = <T extends DescService>(service: T) => createClient(service, transport);
    return {
      account,
      providers: make(ProviderService),
      connections: make(ConnectionService),
      confirmations: make(ConfirmationService),
    };
  }

  const refusalOf = async (call: Promise<unknown>) => {
    const error = ConnectError.from(
      await call.then(
        () => new Error('was let through'),
        (caught: unknown) => caught,
      ),
    );
    const detail = error.findDetails(ErrorDetailSchema)[0];
    if (detail === undefined) throw error;
    return { error, detail };
  };

  const confirm = (uri: string, { account: { account, passcode } }: Person = owner) =>
    confirmInBrowser({ url: uri, account, passcode });
  const withId = (confirmationId: string) => ({ headers: { 'kontext-confirmation': confirmationId } });
  const acme = { name: 'acme', kind: ProviderKind.STATIC };
  const names = async () => (await owner.providers.listProviders({})).providers.map(({ name }) => name);
  const codeOf = async (call: Promise<unknown>) => (await refusalOf(call)).detail.code;

  it('refuses with the challenge of RFC 9470, and names what a client needs', async () => {
    const { error, detail } = await refusalOf(owner.providers.addProvider({ provider: acme }));
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.metadata.get('www-authenticate')).toContain(
      'DPoP algs="ES256", error="insufficient_user_authentication", acr_values="urn:kontext:acr:browser", max_age="300"',
    );
    expect(detail).toMatchObject({
      code: 'KX_CONFIRMATION_NEEDED',
      oauthError: 'insufficient_user_authentication',
      acrValues: 'urn:kontext:acr:browser',
      maxAge: 300,
      confirmUri: expect.stringContaining(`${app.apiUrl}/confirm/`),
    });
    expect(
      await owner.confirmations.getConfirmation({ confirmationId: detail.confirmationId }),
    ).toMatchObject({
      state: ConfirmationState.PENDING,
      interval: 2,
    });
    expect(await names()).not.toContain('acme');
  });

  it('does what was confirmed, once, for that request and that login alone', async () => {
    const { detail } = await refusalOf(owner.providers.addProvider({ provider: acme }));
    const options = withId(detail.confirmationId);
    expect(await codeOf(owner.providers.addProvider({ provider: acme }, options))).toBe(
      'KX_CONFIRMATION_INVALID',
    );
    await confirm(detail.confirmUri);
    const others = [
      () => owner.providers.addProvider({ provider: { ...acme, name: 'acmf' } }, options),
      () => owner.providers.addProvider({ provider: acme, clientSecret: 'x' }, options),
      () => owner.providers.removeProvider({ name: 'acme' }, options),
      () => again.providers.addProvider({ provider: acme }, options),
      () => admin.providers.addProvider({ provider: acme }, options),
      () => stranger.providers.addProvider({ provider: acme }, options),
    ];
    for (const call of others) expect(await codeOf(call())).toBe('KX_CONFIRMATION_INVALID');
    expect(await names()).not.toContain('acme');

    await owner.providers.addProvider({ provider: acme }, options);
    expect(await names()).toContain('acme');
    expect(await codeOf(owner.providers.addProvider({ provider: acme }, options))).toBe(
      'KX_CONFIRMATION_INVALID',
    );
  });

  it('keeps the confirmation of a request that failed for a reason of its own', async () => {
    const wanted = { provider: 'github', value: '' };
    const { detail } = await refusalOf(owner.connections.putSecret(wanted));
    await confirm(detail.confirmUri);
    for (const _ of [1, 2]) {
      const call = owner.connections.putSecret(wanted, withId(detail.confirmationId));
      expect(await codeOf(call)).toBe('KX_SECRET_INVALID');
    }
    const { confirmationId } = detail;
    expect(await owner.confirmations.getConfirmation({ confirmationId })).toMatchObject({
      state: ConfirmationState.CONFIRMED,
    });
    expect(await codeOf(admin.confirmations.getConfirmation({ confirmationId }))).toBe('KX_NOT_FOUND');
  });

  it('says so when it was denied', async () => {
    const { detail } = await refusalOf(owner.connections.putSecret({ provider: 'acme', value: 'x' }));
    const { account, passcode } = owner.account;
    await confirmInBrowser({ url: detail.confirmUri, account, passcode, decision: 'deny' });
    const call = owner.connections.putSecret({ provider: 'acme', value: 'x' }, withId(detail.confirmationId));
    expect(await codeOf(call)).toBe('KX_CONFIRMATION_DENIED');
  });

  it('asks nobody to confirm what their role does not allow', async () => {
    const member = { orgSlug: 'default', name: 'mel', role: 'member', groups: [], withPasscode: true };
    const mel = await personOf(await addMember(opened.store, member, Date.now()));
    expect(await codeOf(mel.providers.addProvider({ provider: acme }))).toBe('KX_FORBIDDEN');
  });
});
