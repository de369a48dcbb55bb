import type { World } from '../world.ts';
import { type PreparedRequest, sendForJson } from './load.ts';
import { createWireClient } from './wire-client.ts';

/** A login of its own with sessions. */
export interface ExchangeClient {
  /** A token exchange (RFC 8693) with the login's token as subject, inside one of the sessions in turn. */
  exchange(params: Readonly<Record<string, string>>): PreparedRequest;
  /** `ResolveCredentials` of some providers. */
  resolve(providers: readonly string[]): PreparedRequest;
  /** Keeps sessions and access token alive; call it before every round. */
  keepAlive(): Promise<void>;
}

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
/** As many agents at once as there are connections: one session's events are stored one after the other. */
const sessions = 8;

/** Logs in by the device flow with a key of its own, and opens sessions. */
export async function createExchangeClient(world: World): Promise<ExchangeClient> {
  const { token, call, accessToken, keepAlive } = await createWireClient(world);
  const sessionIds: string[] = [];
  for (let n = 0; n < sessions; n += 1) {
    const opened = { agent: 'run', agentVersion: '1', hostname: 'bench', cliVersion: '1' };
    const answer = await sendForJson<{ session: { id: string } }>(call('SessionService/OpenSession', opened));
    sessionIds.push(answer.session.id);
  }
  let turn = 0;
  const nextSession = (): string => sessionIds[turn++ % sessions] ?? '';
  return {
    exchange: (params) =>
      token({
        ...{ grant_type: tokenExchange, session_id: nextSession(), ...params },
        ...{ subject_token: accessToken(), subject_token_type: accessTokenType },
      }),
    resolve: (providers) =>
      call('CredentialService/ResolveCredentials', {
        sessionId: nextSession(),
        placeholders: providers.map((provider) => ({ provider })),
      }),
    keepAlive: async () => {
      await keepAlive();
      for (const sessionId of sessionIds) {
        await sendForJson(call('SessionService/HeartbeatSession', { sessionId }));
      }
    },
  };
}
