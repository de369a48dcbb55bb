/** Real parts for tests: database, keyring, upstream provider, model server, agent, browser-like approval. */

export { type ClaudeEnvOptions, claudeEnv } from './agents/claude-env.ts';
export { claudeVersion, findClaude } from './agents/find-claude.ts';
export type { ModelRequest, ModelRequestBody, ModelTurn, ToolUse } from './agents/model-messages.ts';
export {
  type ModelScript,
  type ModelServer,
  startModelServer,
  toolResults,
} from './agents/model-server.ts';
export { type RunClaudeOptions, runClaude } from './agents/run-claude.ts';
export { approveDevice, type DeviceApproval, type WalkOptions, walkPages } from './browser/approve-device.ts';
export { approveInBrowser, type CallApproval } from './browser/approve-in-browser.ts';
export { type Browser, createBrowser, type Page } from './browser/browser.ts';
export { type Confirmation, confirmInBrowser } from './browser/confirm-in-browser.ts';
export { type FormButton, type HtmlForm, parseForms } from './browser/html-forms.ts';
export { createEventChecker } from './check-event.ts';
export { fillFolderOnce } from './fill-folder-once.ts';
export { findFreePort } from './free-port.ts';
export type { IdentityAccount } from './identity-provider/accounts.ts';
export {
  type IdentityClient,
  type IdentityFault,
  type IdentityProvider,
  type IdentityProviderOptions,
  startIdentityProvider,
} from './identity-provider/start-identity-provider.ts';
export { absentKeyringEnv, type Keyring, startKeyring } from './keyring/keyring.ts';
export { type AwsStsStandIn, type StsSession, type StsTrouble, startAwsSts } from './minted/aws-sts.ts';
export {
  type GithubAppStandIn,
  type GithubToken,
  type GithubTrouble,
  startGithubApp,
} from './minted/github-app.ts';
export {
  type HeardExchange,
  startTokenExchangeServer,
  type TokenExchangeServer,
} from './minted/token-exchange-server.ts';
export { type PartName, type PartState, partState } from './part-state.ts';
export {
  type DatabaseTemplate,
  type PostgresCluster,
  startPostgresCluster,
  type TestDatabase,
} from './postgres/cluster.ts';
export { type CrashPostgres, startCrashPostgres } from './postgres/crash-postgres.ts';
export { type Pgbouncer, type PgbouncerSettings, startPgbouncer } from './postgres/pgbouncer.ts';
export { findPostgresBinaries, type PostgresBinaries } from './postgres/postgres-binaries.ts';
export { testRunFolder } from './postgres/shared-server.ts';
export { type CommandResult, type RunCommandOptions, runCommand, runCommandOrThrow } from './run-command.ts';
export { type ScratchHome, scratchHome } from './scratch-home.ts';
export { createSelfSignedCertificate, type SelfSignedCertificate } from './self-signed-certificate.ts';
export { type NetworkFaults, startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
export type { FaultMode } from './upstream/faults.ts';
export {
  type HostileAnswer,
  type HostileProvider,
  hostileTokens,
  startHostileProvider,
} from './upstream/stand-in/hostile.ts';
export { standInProfiles } from './upstream/stand-in/profiles.ts';
export { type StandIn, type StandInProfile, startStandIn } from './upstream/stand-in/stand-in.ts';
export { type StartUpstreamOptions, startUpstream, type Upstream } from './upstream/start-upstream.ts';
export type { UpstreamStats } from './upstream/upstream-app.ts';
