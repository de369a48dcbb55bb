import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandResult, partState } from '@kontext/testkit';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findUndocumented } from '../find-undocumented.ts';
import type { TailedEvent } from '../follow-audit.ts';
import { launchChromium } from '../pages/chromium.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn } from '../world.ts';
import { type Organisation, startOrganisation } from './organisation-world.ts';

const [chromium, postgres] = [partState('chromium'), partState('postgres')];
const reason = `${chromium.reason}${postgres.reason}`;

describe.skipIf(!(chromium.available && postgres.available))(
  `an organisation with its own identity provider ${reason}`,
  () => {
    let organisation: Organisation;
    let browser: Browser;
    beforeAll(async () => {
      organisation = await startOrganisation({ revalidateSeconds: 10 });
      browser = await launchChromium();
    }, 120_000);
    afterAll(async () => {
      await browser?.close();
      await organisation?.close();
    });

    const complaints: string[] = [];
    const openPage = async (): Promise<Page> => {
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      const page = await context.newPage();
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      return page;
    };

    /** Logs a terminal in, as a person who goes through the pages of both sides in a real browser. */
    const logInAs = (account: { readonly sub: string; readonly email: string }): Promise<CommandResult> => {
      organisation.idp.putAccount(account);
      organisation.idp.setCurrent(account.sub);
      return logIn(organisation.world, ['--insecure-storage'], undefined, async ({ uri }) => {
        const page = await openPage();
        await page.goto(uri);
        await page.click('button:has-text("Continue with okta")');
        await page.waitForURL(/\/activate/);
        await page.click('button:has-text("Continue")');
        await page.click('[value=approve]');
        await page.waitForSelector('text=/return to your terminal/i');
        await page.context().close();
      });
    };

    it('lets a developer log in there, and takes access away when the account is disabled there', {
      timeout: 180_000,
    }, async () => {
      const { world, idp } = organisation;
      const account = { sub: 'dev-1', email: 'dev@acme.test' };
      const login = await logInAs(account);
      const before = await world.cli(['status', '--json']);
      idp.putAccount({ ...account, disabled: true } as typeof account);
      let after = before;
      // Its word counts for 10 s; what is waited for here is the refusal, however slow the machine.
      for (let tries = 0; after.exitCode === 0 && tries < 60; tries += 1) {
        await sleep(1000);
        after = await world.cli(['status']);
      }

      expect(login.exitCode, login.stderr).toBe(0);
      expect(login.stdout + login.stderr).toContain('dev@acme.test');
      expect(before.exitCode, before.stderr).toBe(0);
      expect(before.stdout).toContain('dev@acme.test');
      expect(before.stdout).toContain('acme');
      expect(after.exitCode).toBe(77);
      expect(after.stdout + after.stderr).toMatch(/identity provider/);
      expect(complaints).toEqual([]);
    });

    it('gives the owner of `org create` their account by their verified address', {
      timeout: 180_000,
    }, async () => {
      await organisation.world.cli(['logout']);
      const login = await logInAs({ sub: 'owner-1', email: 'owner@acme.test' });
      const status = await organisation.world.cli(['status', '--json']);
      expect(login.exitCode, login.stderr).toBe(0);
      expect(JSON.parse(status.stdout)).toMatchObject({ role: 'owner', user: { name: 'owner@acme.test' } });
    });

    it('lets the owner invite somebody from the terminal, after a fresh login there', {
      timeout: 180_000,
    }, async () => {
      const { world, idp } = organisation;
      const invited = await runConfirmed(world, ['invitations', 'create', 'guest@outside.test'], {
        confirm: async (url) => {
          const page = await openPage();
          await page.goto(url);
          await page.click('button:has-text("Continue with okta")');
          await page.click('[value=confirm]');
          await page.waitForSelector('h1:has-text("Confirmed")');
          await page.context().close();
        },
      });
      const link = /https:\S+\/invite\/\S+/.exec(invited.stdout)?.[0] ?? '';
      const guest = { sub: 'guest-1', email: 'guest@outside.test' };
      idp.putAccount(guest);
      idp.setCurrent(guest.sub);
      const page = await openPage();
      await page.goto(link);
      await page.click('button:has-text("Continue with okta")');
      await page.waitForSelector('h1:has-text("Welcome")');
      await page.context().close();
      const open = await world.cli(['invitations', 'ls', '--json']);
      const providers = await world.cli(['idp', 'ls', '--json']);
      const member = await world.cli(['members', 'ls', '--json']);

      expect(invited.exitCode, invited.stderr).toBe(0);
      expect(JSON.parse(open.stdout)).toEqual([]);
      expect(JSON.parse(providers.stdout)).toMatchObject([{ name: 'okta', issuer: idp.issuer }]);
      expect(member.stdout).toContain('guest@outside.test');
      expect(complaints).toEqual([]);
    });

    it('has recorded all of that as it is documented', async () => {
      const { stdout } = await organisation.world.cli(['audit', 'search', '--all', '--payloads', '--json']);
      const lines = stdout.split('\n').filter(Boolean);
      const events = lines.map((line) => JSON.parse(line) as TailedEvent);
      const kinds = events.map(({ kind }) => kind);

      const wanted = ['login.succeeded', 'member.invited', 'member.added', 'member.claimed'];
      expect(kinds).toEqual(expect.arrayContaining(wanted));
      expect(findUndocumented(events)).toEqual([]);
    });
  },
);
