import { createAwsStsMinter } from './aws-sts-minter.ts';
import { createGithubAppMinter } from './github-app-minter.ts';
import type { MinterDeps, MintersByKind } from './minter.ts';
import { createPostgresMinter } from './postgres-minter.ts';
import { createTokenExchangeMinter } from './token-exchange-minter.ts';

/** Creates the minters; nothing is called yet. */
export const createMintersByKind = (deps: MinterDeps): MintersByKind => ({
  github_app: createGithubAppMinter(deps),
  aws_sts: createAwsStsMinter(deps),
  postgres: createPostgresMinter(deps),
  token_exchange: createTokenExchangeMinter(deps),
});
